#!/bin/bash
# The kernels' tests on this machine's GPU: as they are, then under compute-sanitizer (memory, races, barriers).
#
#   tools/gpu_tests.sh [FOLDER]      what was found goes to FOLDER (default: build/gpu-tests), a file a tool
#
# TEST=program takes another one than build/release/tests/test_cuda, FILTER other tests than those that run kernels on the GPU, TOOLS
# others than "native memcheck racecheck synccheck", JOBS=n runs the tests in n processes at a time (most of their time is the CPU's).
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
test=${TEST:-$root/build/release/tests/test_cuda} filter=${FILTER:-*/Gpu} jobs=${JOBS:-1}
folder=${1:-$root/build/gpu-tests}
mkdir -p "$folder"
export BURNISH_TEST_GPU=1
failed=0 found=()

check() {  # NAME COMMAND...: the tests' shares, side by side
  local name=$1 begin=$SECONDS share status=0 processes=()
  shift
  rm -f "$folder/$name".*txt
  found+=("$folder/$name.txt")
  for ((share = 0; share < jobs; ++share)); do
    GTEST_TOTAL_SHARDS=$jobs GTEST_SHARD_INDEX=$share "$@" "$test" --gtest_filter="$filter" > "$folder/$name.$share.txt" 2>&1 &
    processes+=($!)
  done
  for share in "${!processes[@]}"; do
    if ! wait "${processes[share]}"; then
      status=1
      echo "$name: failed; $folder/$name.$share.txt ends with"
      tail -n 25 "$folder/$name.$share.txt"
    fi
  done
  cat "$folder/$name".[0-9]*.txt > "$folder/$name.txt"
  rm "$folder/$name".[0-9]*.txt
  ((status)) && failed=1 || echo "$name: clean, $((SECONDS - begin)) s"
}

for tool in ${TOOLS:-native memcheck racecheck synccheck}; do
  if [ "$tool" = native ]; then
    check native
  elif sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2> /dev/null); then
    check "$tool" "$sanitizer" --tool "$tool" --target-processes all --error-exitcode 1 --print-limit 20
  else
    echo "compute-sanitizer is not installed: no check of memory and races"
    exit 1
  fi
done
grep -h "^=\+ ERROR SUMMARY\|^\[  PASSED\|^\[  FAILED\|RACECHECK SUMMARY" "${found[@]}"
exit $failed
