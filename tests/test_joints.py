"""Joint orders against the literal tables of the data sets."""

from common.hand import joints as J

# InterHand2.6M's order, one hand (its skeleton.txt without the side).
INTERHAND = (
    "thumb4 thumb3 thumb2 thumb1 index4 index3 index2 index1 middle4 middle3 middle2 middle1 "
    "ring4 ring3 ring2 ring1 pinky4 pinky3 pinky2 pinky1 wrist"
).split()
MANO = "W I1 I2 I3 M1 M2 M3 P1 P2 P3 R1 R2 R3 T1 T2 T3".split()
OPENPOSE = "W T1 T2 T3 T4 I1 I2 I3 I4 M1 M2 M3 M4 R1 R2 R3 R4 P1 P2 P3 P4".split()
LETTERS = {"thumb": "T", "index": "I", "middle": "M", "ring": "R", "pinky": "P"}


def short(name: str) -> str:
    return "W" if name == "wrist" else LETTERS[name[:-1]] + name[-1]


def test_orders_equal_the_tables():
    assert [short(name) for name in J.JOINT_NAMES] == OPENPOSE
    assert [short(name) for name in J.MANO_JOINT_NAMES] == MANO
    assert list(J.INTERHAND_JOINT_NAMES) == INTERHAND


def test_mano_and_tips_to_joints_is_the_field_s_order():
    order = [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]
    assert list(J.MANO_AND_TIPS_TO_JOINTS) == order


def test_interhand_permutations():
    assert J.INTERHAND_TO_JOINTS[J.WRIST] == 20
    for finger in range(5):
        for level in (1, 2, 3, 4):
            assert J.INTERHAND_TO_JOINTS[4 * finger + level] == 4 * finger + 4 - level
    there_and_back = [J.INTERHAND_TO_JOINTS[i] for i in J.JOINTS_TO_INTERHAND]
    assert there_and_back == list(range(21))


def test_parents_name_the_joint_below():
    for child, parent in enumerate(J.PARENTS):
        name = J.JOINT_NAMES[child]
        if name == "wrist":
            assert parent == -1
        else:
            below = "wrist" if name.endswith("1") else f"{name[:-1]}{int(name[-1]) - 1}"
            assert J.JOINT_NAMES[parent] == below
    for child, parent in enumerate(J.MANO_PARENTS):
        assert parent < child
        if parent > 0:
            assert J.MANO_JOINT_NAMES[parent][:-1] == J.MANO_JOINT_NAMES[child][:-1]


def test_tip_sets_are_those_of_the_protocols():
    assert J.TIP_VERTICES["interhand"] == (745, 317, 445, 556, 673)
    assert J.TIP_VERTICES["intaghand"] == (745, 317, 444, 556, 673)
    assert J.TIP_VERTICES["smplx"] == (744, 320, 443, 554, 671)
    assert J.JOINT_NAMES[J.MIDDLE_MCP] == "middle1"
