#!/usr/bin/env bash
# What a GPU has to say, in parts of at most nine minutes each, from a machine that has PyTorch and Triton:
#
#     OUT=folder bench/on_gpu.sh [profile|operators|models|training|queue ...]
#
# The part "queue" needs the packages of srzoo's extra "train" too, CamVid in $SRZOO_CAMVID, and a queue in $QUEUE (default:
# the ablation at convergence). Give it the same $OUT again, and it resumes.
# Correctness first: a part that measures kernels stops where their tests fail. CSVs go into $OUT (default: results of
# this checkout), and what did not end in time leaves what it had written.
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-bench/results}
mkdir -p "$OUT"
export PYTHONPATH="$PWD:$PWD/kernels${PYTHONPATH:+:$PYTHONPATH}" PYTHONDONTWRITEBYTECODE=1
DEVICE=${DEVICE:-cuda}
MODELS=(srnet_lite0 srnet_dfv2 srnet_r50 "smp DeepLabV3" "smp DeepLabV3Plus lite0" "torchvision deeplabv3_resnet50")

tests() {  # compiling the kernels takes most of it, so they share the processors where pytest-xdist is
    local workers=()
    if python3 -c "import xdist" 2>/dev/null; then workers=(-n "${WORKERS:-8}"); fi
    timeout 240 python3 -m pytest -q "${workers[@]}" -p no:cacheprovider -m "gpu and not slow" \
        tests/kernels tests/layers/test_insertion.py tests/test_gpu.py
}

keep() {
    local name
    for name in "$@"; do
        if [ "bench/results/$name" -ef "$OUT/$name" ] || [ ! -e "bench/results/$name" ]; then continue; fi
        cp "bench/results/$name" "$OUT/"
    done
}

for part in "${@:-profile}"; do
    case $part in
    profile)
        timeout 520 python3 bench/gpu_profile.py host operators --device "$DEVICE" --out "$OUT/gpu_profile.csv"
        ;;
    operators)
        tests
        timeout -s KILL 40 python3 bench/convolutions.py --device "$DEVICE" || true
        timeout -s KILL 150 python3 bench/sr_block.py --device "$DEVICE" --dtypes float16 bfloat16 float32 || true
        timeout -s KILL 80 python3 bench/head.py --device "$DEVICE" --dtypes float16 bfloat16 || true
        keep convolutions_gpu.csv sr_block_gpu.csv head_gpu.csv
        ;;
    models)
        timeout -s KILL 60 python3 bench/gpu_profile.py models --device "$DEVICE" --out "$OUT/gpu_profile_models.csv" || true
        # Compiling takes most of the time, so the models are compiled side by side first; Inductor keeps the result.
        for model in "${MODELS[@]}"; do
            timeout -s KILL 150 python3 bench/models.py --device "$DEVICE" --cases 2048x1-float16-half+fused+reduced \
                --models "$model" --repeats 1 --out "$(mktemp)" >/dev/null 2>&1 &
        done
        wait
        for way in half+fused+replayed half+fused+reduced eager; do
            timeout -s KILL 100 python3 bench/models.py --device "$DEVICE" --cases "2048x1-float16-$way" \
                --models "${MODELS[@]}" --repeats 11 || true
            keep models_gpu.csv
        done
        ;;
    training)
        timeout 500 python3 bench/gpu_profile.py training --device "$DEVICE" --out "$OUT/gpu_profile_training.csv" || true
        ;;
    queue)
        timeout 560 python3 bench/train_many.py "${QUEUE:-bench/queues/camvid_ablation.yaml}" --table context \
            --data.root "$SRZOO_CAMVID" --out "$OUT/queue" --jobs "${JOBS:-4}" --limit 450 --device "${DEVICE%%:*}"
        ;;
    *)
        echo "unknown part '$part'; choose profile, operators, models, training or queue" >&2
        exit 2
        ;;
    esac
done
