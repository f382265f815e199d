#!/bin/bash
# The kernels' tests on this machine's GPU: as they are, then under compute-sanitizer (memory, races, barriers).
#
#   tools/gpu_tests.sh [FOLDER]      what was found goes to FOLDER (default: build/gpu-tests), a file a tool
#
# TEST=program takes another one than build/release/tests/test_cuda, FILTER other tests than those that run kernels on the GPU.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
test=${TEST:-$root/build/release/tests/test_cuda} filter=${FILTER:-*/Gpu}
folder=${1:-$root/build/gpu-tests}
mkdir -p "$folder"
export BURNISH_TEST_GPU=1
failed=0

check() {  # NAME COMMAND...
  local name=$1 begin=$SECONDS
  shift
  if "$@" > "$folder/$name.txt" 2>&1; then
    echo "$name: clean, $((SECONDS - begin)) s"
  else
    failed=1
    echo "$name: failed, $((SECONDS - begin)) s; $folder/$name.txt ends with"
    tail -n 25 "$folder/$name.txt"
  fi
}

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2> /dev/null)
check native "$test" --gtest_filter="$filter"
if [ -z "$sanitizer" ]; then
  echo "compute-sanitizer is not installed: no check of memory and races"
  exit 1
fi
for tool in memcheck racecheck synccheck; do
  check $tool "$sanitizer" --tool $tool --target-processes all --error-exitcode 1 --print-limit 20 "$test" --gtest_filter="$filter"
done
grep -h "^=\+ ERROR SUMMARY\|^\[  PASSED\|^\[  FAILED\|RACECHECK SUMMARY" "$folder"/*.txt
exit $failed
