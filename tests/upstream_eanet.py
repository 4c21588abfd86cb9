"""EANet under its public names: a random state dict, and plain functions that compute what it computes.

Written from the names and facts alone, so that tests can hold our network and the converter against it.
"""

import numpy as np
import torch
import torchvision
from scipy.spatial.transform import Rotation
from torch.nn import functional as F


def random_state(c=512, resnet="resnet50", seed=0):
    """Values of a trained network's size: normalised layers, moderate rotations."""
    rng = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        backbone = getattr(torchvision.models, resnet)()
    inputs = backbone.fc.in_features
    shapes = {f"hand_backbone.{k}": v.shape for k, v in backbone.state_dict().items() if "fc." not in k}

    def linear(name, rows, columns, bias=True, kernel=()):
        shapes[f"{name}.weight"] = (rows, columns, *kernel)
        if bias:
            shapes[f"{name}.bias"] = (rows,)

    def conv(name, rows, columns):
        linear(f"{name}.0", rows, columns, kernel=(1, 1))
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.1.{part}"] = (rows,)
        shapes[f"{name}.1.num_batches_tracked"] = ()

    def norm(name):
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (c,)

    def self_blocks(name):
        for i in range(4):
            norm(f"{name}.{i}.norm1"), norm(f"{name}.{i}.norm2")
            linear(f"{name}.{i}.attn.qkv", 3 * c, c, bias=False)
            linear(f"{name}.{i}.attn.proj", c, c)
            linear(f"{name}.{i}.mlp.fc1", 4 * c, c), linear(f"{name}.{i}.mlp.fc2", c, 4 * c)

    ea, rot = "hand_position_net.EABlock", "hand_rotation_net"
    for fuse in ("Extract", "Adapt_r", "Adapt_l"):
        name = f"{ea}.{fuse}"
        shapes |= {f"{name}.pos_embed": (1, 129, c), f"{name}.cls_token": (1, 1, c)}
        shapes |= {f"{name}.CA_T.pos_embed": (1, 64, c), f"{name}.CA_T.pos_embed2": (1, 129, c)}
        linear(f"{name}.FC", c, 2 * c), linear(f"{name}.FC2", c, c), linear(f"{name}.FC3", c, c)
        self_blocks(f"{name}.SA_T")
        for i in range(4):
            block = f"{name}.CA_T.blocks.{i}"
            norm(f"{block}.norm1"), norm(f"{block}.norm2"), norm(f"{block}.norm3")
            for part in "qkv":
                linear(f"{block}.attn.{part}", c, c, bias=False)
            linear(f"{block}.attn.proj", c, c)
            linear(f"{block}.mlp.fc1", 4 * c, c, bias=False), linear(f"{block}.mlp.fc2", c, 4 * c, bias=False)
    for h in "lr":
        conv(f"{ea}.conv_{h}", c, inputs), conv(f"{ea}.conv_{h}2", 2 * c, 2 * c)
        linear(f"hand_position_net.conv_{h}2.0", 168, 2 * c, kernel=(1, 1))
        conv(f"{rot}.{h}conv", c, 2 * c)
        linear(f"{rot}.{h}shape_out.0", 10, 2 * c), linear(f"{rot}.{h}cam_out.0", 3, 2 * c)
        shapes[f"{rot}.Transformer_{h}.pos_embed"] = (1, 21, c)
        self_blocks(f"{rot}.Transformer_{h}.blocks")
        linear(f"{rot}.{h}root_pose_out.0", 6, 21 * (c + 3)), linear(f"{rot}.{h}pose_out.0", 90, 21 * (c + 3))
    linear(f"{rot}.root_relative.0", c, 4 * c), linear(f"{rot}.root_relative.2", 3, c)

    def value(name, shape):
        if name.endswith("num_batches_tracked"):
            return torch.tensor(7)
        if name.endswith("pose_out.0.bias"):  # about half a radian away from no rotation
            straight = torch.tensor([1.0, 0, 0, 1, 0, 0]).repeat(shape[0] // 6)
            return straight + 0.3 * torch.randn(shape, generator=rng)
        noise = torch.randn(shape, generator=rng)
        if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            return (1 + 0.2 * noise).clamp(0.5, 1.5)
        fan_in = noise[0].numel() if len(shape) > 1 else 25
        small = 0.2 if "pose_out" in name or "_out.0.weight" in name else 1.0
        return noise * (small if name.endswith("weight") else 1.0) * (fan_in**-0.5)

    return {name: value(name, shape) for name, shape in shapes.items()}


def linear(s, name, x):
    y = x @ s[f"{name}.weight"].flatten(1).T
    return y + s[f"{name}.bias"] if f"{name}.bias" in s else y


def conv(s, name, x):
    """1x1 convolution, BatchNorm in eval mode, ReLU; tokens (B,64,C) in and out."""
    y = linear(s, f"{name}.0", x)
    n = f"{name}.1"
    scale = s[f"{n}.weight"] / (s[f"{n}.running_var"] + 1e-5).sqrt()
    return ((y - s[f"{n}.running_mean"]) * scale + s[f"{n}.bias"]).clamp_min(0)


def norm(s, name, x):
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * s[f"{name}.weight"]
        + s[f"{name}.bias"]
    )


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / 2**0.5))


def heads(q, k, v):
    """Four heads, contiguous blocks of channels."""
    width = q.shape[-1] // 4
    out = []
    for i in range(4):
        at = slice(i * width, (i + 1) * width)
        weights = (q[..., at] @ k[..., at].transpose(1, 2) * width**-0.5).softmax(-1)
        out.append(weights @ v[..., at])
    return torch.cat(out, -1)


def mlp(s, name, x):
    return linear(s, f"{name}.fc2", gelu(linear(s, f"{name}.fc1", x)))


def self_blocks(s, name, x):
    for i in range(4):
        n = f"{name}.{i}"
        q, k, v = linear(s, f"{n}.attn.qkv", norm(s, f"{n}.norm1", x)).chunk(3, -1)
        x = x + linear(s, f"{n}.attn.proj", heads(q, k, v))
        x = x + mlp(s, f"{n}.mlp", norm(s, f"{n}.norm2", x))
    return x


def cross_transformer(s, name, query, context):
    query, context = query + s[f"{name}.pos_embed"], context + s[f"{name}.pos_embed2"]
    for i in range(4):
        n = f"{name}.blocks.{i}"
        x, y = norm(s, f"{n}.norm1", query), norm(s, f"{n}.norm2", context)
        q, k, v = linear(s, f"{n}.attn.q", x), linear(s, f"{n}.attn.k", y), linear(s, f"{n}.attn.v", y)
        query = query + linear(s, f"{n}.attn.proj", heads(q, k, v))
        query = query + mlp(s, f"{n}.mlp", norm(s, f"{n}.norm3", query))
    return query


def fuseformer(s, name, a, b):
    join = linear(s, f"{name}.FC", torch.cat([a, b], 2))
    sim = torch.cat([s[f"{name}.cls_token"].expand(len(a), 1, -1), a, b], 1) + s[f"{name}.pos_embed"]
    sim = linear(s, f"{name}.FC2", self_blocks(s, f"{name}.SA_T", sim))
    return linear(s, f"{name}.FC3", cross_transformer(s, f"{name}.CA_T", join, sim))


def eablock(s, tokens):
    """Backbone tokens (B,64,C) -> {hand: (B,64,2c)}."""
    n = "hand_position_net.EABlock"
    own = {h: conv(s, f"{n}.conv_{h}", tokens) for h in "rl"}
    inter = fuseformer(s, f"{n}.Extract", own["r"], own["l"])
    adapted = {h: fuseformer(s, f"{n}.Adapt_{h}", own[h], inter) for h in "rl"}
    return {h: conv(s, f"{n}.conv_{h}2", torch.cat([own[h], adapted[h]], 2)) for h in "rl"}


def joint_indices(s, h, feature):
    """Expected x, y, z index of each joint's volume (B,21,3)."""
    volume = linear(s, f"hand_position_net.conv_{h}2.0", feature).transpose(1, 2)
    volume = volume.reshape(len(feature), 21, 8, 8, 8)  # joint, z, y, x
    z, y, x = torch.meshgrid(*[torch.arange(8.0)] * 3, indexing="ij")
    cells = torch.stack([x, y, z], -1).view(512, 3)
    return volume.flatten(2).softmax(-1) @ cells


def rotations(numbers):
    """Six numbers (...,6) read as 3x2, columns the two vectors -> axis-angle (...,3), by scipy."""
    a, b = numbers.double().numpy().reshape(-1, 3, 2).transpose(2, 0, 1)
    b1 = a / np.linalg.norm(a, axis=1, keepdims=True)
    b2 = b - (b1 * b).sum(1, keepdims=True) * b1
    b2 /= np.linalg.norm(b2, axis=1, keepdims=True)
    matrices = np.stack([b1, b2, np.cross(b1, b2)], 2)
    return torch.from_numpy(Rotation.from_matrix(matrices).as_rotvec()).float().view(*numbers.shape[:-1], 3)


def regress(s, h, feature, index):
    """One hand: axis-angle (B,16,3), betas, camera in cells."""
    n = "hand_rotation_net"
    maps = conv(s, f"{n}.{h}conv", feature).transpose(1, 2).unflatten(2, (8, 8))
    where = (2 * index[:, :, None, :2] / 7) - 1
    sampled = F.grid_sample(maps, where, align_corners=True)[..., 0].transpose(1, 2)  # (B,21,c)
    tokens = self_blocks(s, f"{n}.Transformer_{h}.blocks", sampled + s[f"{n}.Transformer_{h}.pos_embed"])
    flat = torch.cat([tokens, index], 2).reshape(len(index), -1)
    numbers = [linear(s, f"{n}.{h}{part}.0", flat) for part in ("root_pose_out", "pose_out")]
    pose = rotations(torch.cat(numbers, 1).unflatten(1, (16, 6)))
    pooled = feature.mean(1)
    return pose, linear(s, f"{n}.{h}shape_out.0", pooled), linear(s, f"{n}.{h}cam_out.0", pooled)


def network(s, hands, img, resnet="resnet50"):
    """Everything, in the project's contract; `hands` poses the meshes (its own tests watch it)."""
    backbone = getattr(torchvision.models, resnet)().eval()
    backbone.fc = torch.nn.Identity()
    backbone.load_state_dict({k[14:]: v for k, v in s.items() if k.startswith("hand_backbone.")})
    backbone.avgpool = torch.nn.Identity()
    tokens = backbone(img).view(len(img), -1, 64).transpose(1, 2)
    features = eablock(s, tokens)
    index = {h: joint_indices(s, h, features[h]) for h in "rl"}
    parts = {h: regress(s, h, features[h], index[h]) for h in "rl"}
    pose, shape, cam = (torch.stack([parts[h][i] for h in "rl"], 1) for i in range(3))
    verts, joints = hands(pose, shape)  # adds the mean pose to the fingers' vectors
    wrist = joints[:, :, :1]
    pooled = torch.cat([features[h].mean(1) for h in "rl"], 1)
    n = "hand_rotation_net.root_relative"
    grid = torch.stack([index[h] for h in "rl"], 1)
    mean = hands.mean
    return {
        "joints_img": torch.cat([32 * grid[..., :2], 0.15 * (grid[..., 2:] / 4 - 1)], -1),
        "rotmat": torch.from_numpy(Rotation.from_rotvec((pose + mean).view(-1, 3)).as_matrix())
        .float()
        .view(*pose.shape[:-1], 3, 3),
        "shape": shape,
        "rel_trans": linear(s, f"{n}.2", linear(s, f"{n}.0", pooled).clamp_min(0)),
        "verts": verts - wrist,
        "joints": joints - wrist,
        "projected": 32 * (cam[:, :, None, :1] * joints[..., :2] + cam[:, :, None, 1:]),
    }
