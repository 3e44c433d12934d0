"""Which precision this machine multiplies fastest."""

import torch


def fast_precision() -> str:
    """ "bf16", "fp16" or "no", as Accelerate names them.

    A CPU gains from bfloat16 with AMX, or with AVX512_BF16 as AMD has it (Zen 4).
    Intel's without AMX multiplies bfloat16 at half that rate, so convolutions take as long as in float32, up to twice
    as long in a ResNet-50; a CPU that has neither takes many times as long.
    """
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # not in PyTorch before 2.10
    full_rate = capabilities.get("avx512_bf16") and str(capabilities.get("cpu_name")).startswith("AMD")
    return "bf16" if capabilities.get("amx_bf16") or full_rate else "no"
