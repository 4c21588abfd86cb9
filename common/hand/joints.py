"""Joint names, orders, fingertip vertices and the skeleton: the one home of every hand index.

Inside the project a hand has 21 joints, wrist first, then thumb, index, middle, ring and pinky,
each from its base (MCP; CMC for the thumb) to its tip.
"""

RIGHT, LEFT = 0, 1
HANDS = ("right", "left")
FINGERS = ("thumb", "index", "middle", "ring", "pinky")

JOINT_NAMES = ("wrist", *(f"{finger}{level}" for finger in FINGERS for level in (1, 2, 3, 4)))
NUM_JOINTS = len(JOINT_NAMES)  # 21
WRIST = 0
MIDDLE_MCP = JOINT_NAMES.index("middle1")  # 9, the far end of every protocol's scale bone
TIPS = tuple(JOINT_NAMES.index(f"{finger}4") for finger in FINGERS)

# Parent of each of the 21 joints; the wrist has none.
PARENTS = (-1, *(WRIST if level == 1 else 4 * f + level - 1 for f in range(5) for level in range(1, 5)))
BONES = tuple((parent, child) for child, parent in enumerate(PARENTS) if parent >= 0)

# MANO's 16 joints put the pinky before the ring finger and the thumb last.
MANO_FINGERS = ("index", "middle", "pinky", "ring", "thumb")
MANO_JOINT_NAMES = ("wrist", *(f"{finger}{level}" for finger in MANO_FINGERS for level in (1, 2, 3)))
MANO_PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)

# [16 MANO joints | tips thumb..pinky] -> 21 joints wrist first.
MANO_AND_TIPS_TO_JOINTS = tuple(
    16 + FINGERS.index(name[:-1]) if name.endswith("4") else MANO_JOINT_NAMES.index(name)
    for name in JOINT_NAMES
)

# InterHand2.6M lists each finger from tip to base and the wrist last; the left hand follows at +21.
INTERHAND_JOINT_NAMES = (*(f"{finger}{level}" for finger in FINGERS for level in (4, 3, 2, 1)), "wrist")
INTERHAND_TO_JOINTS = tuple(INTERHAND_JOINT_NAMES.index(name) for name in JOINT_NAMES)
JOINTS_TO_INTERHAND = tuple(JOINT_NAMES.index(name) for name in INTERHAND_JOINT_NAMES)

# Fingertip vertices, thumb..pinky. The field uses all of these; a number means nothing without
# naming its set (the middle tips 443, 444 and 445 lie up to 5 mm apart on MANO).
TIP_VERTICES = {
    "interhand": (745, 317, 445, 556, 673),  # official InterHand2.6M regressor, InterWild, EANet training
    "intaghand": (745, 317, 444, 556, 673),  # IntagHand, DIR and EANet evaluation
    "smplx": (744, 320, 443, 554, 671),  # smplx vertex_ids["mano"], HaMeR
}
