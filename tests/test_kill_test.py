"""The program that kills runs sees a difference of one bit."""

import torch

from tool.kill_test import differences


def left(value: float = 1.0, total: float = 0.5, **more: object) -> dict:
    state = {0: {"step": torch.tensor(3.0), "exp_avg": torch.tensor([value, 2.0])}}
    return {"optimizer": {"state": state, "param_groups": [{"lr": 0.1}]}, "lines": [{"total": total, **more}]}


def test_differences():
    assert differences(left(), left()) == []
    assert differences(left(), left(value=1.0 + 2**-23)) == ["optimizer"]
    assert differences(left(), left(total=0.5 + 2**-53)) == ["lines"]
    assert differences(left(), left(shape=None)) == ["lines"]
    double = left()
    double["optimizer"]["state"][0]["step"] = torch.tensor(3.0, dtype=torch.float64)
    assert differences(left(), double) == ["optimizer"]
