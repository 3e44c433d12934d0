#!/usr/bin/env bash
# What a GPU has to say, in parts of at most nine minutes each, from a machine that has PyTorch and Triton, and without an
# install numpy, Pillow, timm, torchvision, safetensors, PyYAML and pytest:
#
#     OUT=folder bench/on_gpu.sh [profile|operators|models|training|queue ...]
#
# The part "models" leaves out peers whose library is missing (segmentation_models_pytorch). The part "queue" needs the
# packages of srzoo's extra "train" too, CamVid in $SRZOO_CAMVID, and a queue in $QUEUE (default: the ablation at
# convergence). Give it the same $OUT again, and it resumes.
# Correctness first: a part that measures kernels stops where their tests fail. CSVs go into $OUT (default: results of
# this checkout). What does not end in time, tests included, is stopped with a line, and leaves what it had written; after
# any other failure of a measurement the others run, and the exit status is 1.
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-bench/results}
mkdir -p "$OUT"
export PYTHONPATH="$PWD:$PWD/kernels${PYTHONPATH:+:$PYTHONPATH}" PYTHONDONTWRITEBYTECODE=1
DEVICE=${DEVICE:-cuda}
MODELS=(srnet_lite0 srnet_dfv2 srnet_r50 "smp DeepLabV3" "smp DeepLabV3Plus lite0" "torchvision deeplabv3_resnet50")
failed=0
began=$(mktemp)
trap 'rm -f "$began"' EXIT

python3 - <<'PYTHON'
import importlib.util, sys

needed = ("torch", "triton", "torchvision", "timm", "numpy", "PIL", "safetensors", "yaml", "pytest")
if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
    sys.exit(f"on_gpu.sh: python3 lacks {', '.join(missing)}; install them, or srzoo with pip install '.[test]'")
PYTHON

measure() {  # seconds, command: one that is killed when its time is up has failed in nothing else
    local status=0 end=$((SECONDS + $1))
    timeout -s KILL "$@" || status=$?
    if [ "$status" != 0 ] && [ "$SECONDS" -ge "$end" ]; then
        echo "on_gpu.sh: stopped after $1 s: ${*:2}" >&2
    elif [ "$status" != 0 ]; then # killed for memory, too
        echo "on_gpu.sh: failed: ${*:2}" >&2
        failed=1
    fi
}

tests() {  # compiling the kernels takes most of it, so they share the processors where pytest-xdist is
    local workers=() status=0
    if python3 -c "import xdist" 2>/dev/null; then workers=(-n "${WORKERS:-8}"); fi
    # By SIGINT, after which pytest tells of what has failed until then.
    timeout -s INT -k 20 240 python3 -m pytest -q --tb=short "${workers[@]}" -p no:cacheprovider -m "gpu and not slow" \
        tests/kernels tests/layers/test_insertion.py tests/test_gpu.py || status=$?
    if [ "$status" = 124 ] || [ "$status" = 137 ]; then
        echo "on_gpu.sh: the tests did not end within 240 s" >&2
    elif [ "$status" != 0 ]; then
        exit "$status"
    fi
}

keep() {  # what has been written since this script began; older results are of another run
    local name
    for name in "$@"; do
        if [ "bench/results/$name" -nt "$began" ] && ! [ "bench/results/$name" -ef "$OUT/$name" ]; then
            cp "bench/results/$name" "$OUT/"
        fi
    done
}

for part in "${@:-profile}"; do
    case $part in
    profile)
        measure 520 python3 bench/gpu_profile.py host operators --device "$DEVICE" --out "$OUT/gpu_profile.csv"
        ;;
    operators)
        tests
        measure 40 python3 bench/convolutions.py --device "$DEVICE"
        measure 150 python3 bench/sr_block.py --device "$DEVICE" --dtypes float16 bfloat16 float32
        measure 80 python3 bench/head.py --device "$DEVICE" --dtypes float16 bfloat16
        keep convolutions_gpu.csv sr_block_gpu.csv head_gpu.csv
        ;;
    models)
        measure 60 python3 bench/gpu_profile.py models --device "$DEVICE" --out "$OUT/gpu_profile_models.csv"
        # Compiling takes most of the time, so the models are compiled side by side first; Inductor keeps the result.
        for model in "${MODELS[@]}"; do
            timeout -s KILL 150 python3 bench/models.py --device "$DEVICE" --cases 2048x1-float16-half+fused+reduced \
                --models "$model" --repeats 1 --out "$(mktemp)" >/dev/null 2>&1 &
        done
        wait
        for way in half+fused+replayed half+fused+reduced eager; do
            measure 100 python3 bench/models.py --device "$DEVICE" --cases "2048x1-float16-$way" \
                --models "${MODELS[@]}" --repeats 11
            keep models_gpu.csv
        done
        ;;
    training)
        measure 500 python3 bench/gpu_profile.py training --device "$DEVICE" --out "$OUT/gpu_profile_training.csv"
        ;;
    queue)
        QUEUE=${QUEUE:-bench/queues/camvid_ablation.yaml}
        if [ -z "${SRZOO_CAMVID:-}" ]; then
            echo "on_gpu.sh: the part queue needs CamVid's folder in SRZOO_CAMVID" >&2
            exit 2
        fi
        measure 560 python3 bench/train_many.py "$QUEUE" --data.root "$SRZOO_CAMVID" --table --jobs "${JOBS:-4}" \
            --out "$OUT/$(basename "$QUEUE" .yaml)" --limit 450 --device "$DEVICE"
        ;;
    *)
        echo "unknown part '$part'; choose profile, operators, models, training or queue" >&2
        exit 2
        ;;
    esac
done
exit "$failed"
