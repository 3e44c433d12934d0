"""Which precision this machine multiplies fastest."""

import torch


def fast_precision() -> str:
    """ "bf16", "fp16" or "no", as Accelerate names them.

    A CPU without matrix units gains nothing from bfloat16: convolutions take as long as in float32 where it has other
    instructions for it, up to twice as long in a ResNet-50, and many times as long where it has none.
    """
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # not in PyTorch before 2.10
    return "bf16" if capabilities.get("amx_bf16") else "no"
