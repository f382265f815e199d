#!/usr/bin/env bash
# Runs all tests of one build: tools/test.sh release|debug|asan. Python's tests run with the release build.
# All of them run, whatever fails; the runners' closing lines, and what failed, also go to build/<preset>/test-summary.txt.
set -uo pipefail
cd "$(dirname "$0")/.."
preset=${1:?usage: tools/test.sh release|debug|asan}
summary=build/$preset/test-summary.txt
: >"$summary"
failed=0

ctest --preset "$preset" -j "${JOBS:-$(nproc)}" 2>&1 | tee "build/$preset/ctest.log" || failed=1
grep -E '^[0-9]+% tests passed|^No tests were found' "build/$preset/ctest.log" >>"$summary" || failed=1
sed -n '/^The following tests FAILED:/,$p' "build/$preset/ctest.log" | grep -E '^[[:space:]]+[0-9]+ - ' >>"$summary"

if [[ $preset == release ]] && compgen -G 'tests/python/test_*.py' >/dev/null; then
  build/venv/bin/python -m pytest tests/python tests/docs -q -p no:cacheprovider 2>&1 |
    tee build/release/pytest.log || failed=1
  grep -E '^(FAILED|ERROR) ' build/release/pytest.log >>"$summary"
  tail -n 1 build/release/pytest.log >>"$summary"
fi

exit "$failed"
