"""The precision in which this machine trains fastest."""

import torch


def fast_precision() -> str:
    """The fastest precision here: "bf16", "fp16" or "no" (float32), in Accelerate's terms.

    On a CPU bfloat16 is faster with AMX, and with AMD's AVX512_BF16 (Zen 4). Intel's AVX512_BF16 multiplies at half
    AMD's rate: without AMX convolutions take as long as in float32, and up to twice as long in a ResNet-50. On a CPU
    with neither, bfloat16 takes many times as long.
    """
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # not in PyTorch before 2.10
    full_rate = capabilities.get("avx512_bf16") and str(capabilities.get("cpu_name")).startswith("AMD")
    return "bf16" if capabilities.get("amx_bf16") or full_rate else "no"
