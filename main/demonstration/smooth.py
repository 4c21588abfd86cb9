"""Steady hands in a video: One-Euro filters on pose, translation and refinement, one shape per track."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from common.hand.joints import HANDS
from common.hand.mano import ManoLayer
from common.utils.one_euro import OneEuro
from main.result.two_hands import TwoHands

GAP = 0.5  # seconds without a hand after which its track ends
SHAPE_SECONDS = 2.0  # of a track, over which its shape is averaged; then it stays
ROTATION = (1.5, 1.0)  # slowest cutoff in Hz and beta of the filters, by eye: rotation matrices,
TRANSLATION = (1.5, 20.0)  # metres,
OFFSET = (1.0, 0.0)  # metres that refinement moves each vertex


class Track:
    """One hand from when it came until it is gone."""

    def __init__(self, start: float):
        self.start = self.last = start
        self.shapes: list[NDArray] = []
        self.rotation, self.translation = OneEuro(*ROTATION), OneEuro(*TRANSLATION)
        self.offset = OneEuro(*OFFSET)

    def shape(self, shape: NDArray, time: float) -> NDArray:
        """The mean over the beginning of the track (10,)."""
        if time - self.start <= SHAPE_SECONDS:
            self.shapes.append(shape)
        return np.mean(self.shapes, 0)


class Smoother:
    """Frames of one video in order -> the same hands, steadier."""

    def __init__(self, mano: ManoLayer):
        self.mano = mano
        self.tracks: list[Track | None] = [None] * len(HANDS)
        self.between = OneEuro(*TRANSLATION)  # of rel_trans

    @torch.inference_mode()
    def __call__(self, hands: TwoHands, time: float) -> TwoHands:
        """time: seconds, later than the last frame's."""
        rotmat = self.mano.rotations(self._tensor(hands.pose))[0].cpu().numpy()
        shape, placed = hands.shape.copy(), hands.wrists_cam.copy()
        offset = np.zeros_like(hands.verts)
        if hands.verts_rough is not None:
            offset = hands.verts - hands.verts_rough
        for i in np.flatnonzero(hands.is_present):
            track = self._track(i, time)
            rotmat[i] = nearest_rotations(track.rotation(rotmat[i], time))
            shape[i] = track.shape(shape[i], time)
            placed[i] = track.translation(placed[i], time)
            offset[i] = track.offset(offset[i], time)
        return self._rebuilt(hands, rotmat, shape, offset, placed, time)

    def _track(self, hand: int, time: float) -> Track:
        track = self.tracks[hand]
        if track is None or time - track.last > GAP:
            track = self.tracks[hand] = Track(time)
        track.last = time
        return track

    def _rebuilt(
        self, hands: TwoHands, rotmat: NDArray, shape: NDArray, offset: NDArray, placed: NDArray, time: float
    ) -> TwoHands:
        rotations = self._tensor(rotmat)
        rough = self.mano.skin(rotations, self._tensor(shape))
        rough = rough - self.mano.joints(rough)[:, :, :1]
        final = rough + self._tensor(offset)
        rel_trans = hands.rel_trans
        if rel_trans is None:
            self.between = OneEuro(*TRANSLATION)
        else:
            rel_trans = self.between(rel_trans, time).astype(np.float32)
        moved = replace(hands, rel_trans=rel_trans)
        wrists = moved.wrists[:, None]
        has_rough = hands.verts_rough is not None
        return replace(
            moved,
            pose=self.mano.pose(rotations)[0].cpu().numpy(),
            shape=shape,
            verts=final[0].cpu().numpy() + wrists,
            joints=self.mano.joints(final)[0].cpu().numpy() + wrists,
            verts_rough=rough[0].cpu().numpy() + wrists if has_rough else None,
            joints_rough=self.mano.joints(rough)[0].cpu().numpy() + wrists if has_rough else None,
            placed=placed,
        )

    def _tensor(self, values: NDArray) -> torch.Tensor:
        """With a batch axis, on the hand layer's device."""
        return torch.from_numpy(values[None]).float().to(self.mano.faces.device)


def nearest_rotations(matrices: NDArray) -> NDArray:
    """(...,3,3), means of rotations -> the rotations nearest to them."""
    u, _, vh = np.linalg.svd(matrices)
    sign = np.ones(matrices.shape[:-1])
    sign[..., -1] = np.linalg.det(u @ vh)
    return (u * sign[..., None, :]) @ vh
