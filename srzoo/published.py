"""The weights that ship."""

from .weights import Weights

PUBLISHED: dict[str, Weights] = {
    "srnet_lite0_camvid": Weights(
        file="srnet_lite0_camvid.safetensors",
        sha256="3f2ccc2c18ed6d4324e90199c6e9dc87027ebc63943e9eb031dee840a47b7f1e",
        parameters=3_616_274,
        licence=(
            "srzoo: Apache-2.0",
            "EfficientNet-Lite0 by Google, packaged by ML Illustrated: Apache-2.0; trained on ImageNet (research use)",
            "CamVid (Brostow et al., 2008): research use only",
        ),
        recipe="srnet_lite0_camvid",
    ),
    "srnet_dfv2_camvid": Weights(
        file="srnet_dfv2_camvid.safetensors",
        sha256="0096b32e457ae4a158f8c9bf53eb4ce1e4ad7faeae0d0df96ef7c61231061226",
        parameters=18_873_910,
        licence=(
            "srzoo: Apache-2.0",
            "taught by srnet_lite0_camvid, and so under its terms too",
            "CamVid (Brostow et al., 2008): research use only",
        ),
        recipe="srnet_dfv2_camvid",
    ),
}
