"""The tree obeys the dependency rule, and the checker that says so finds each kind of violation."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKER = ROOT / "tools" / "check_includes.py"


def run(root):
    result = subprocess.run([sys.executable, CHECKER, root], capture_output=True, text=True)
    return result.returncode, result.stdout


class CheckIncludes(unittest.TestCase):
    def tree(self, files):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name, text in files.items():
            path = Path(folder.name) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return folder.name

    def rejected(self, files, message):
        code, output = run(self.tree(files))
        self.assertIn(message, output)
        self.assertEqual(code, 1)

    def accepted(self, files):
        code, output = run(self.tree(files))
        self.assertEqual((code, output), (0, ""))

    def test_this_tree(self):
        code, output = run(ROOT)
        self.assertEqual((code, output), (0, ""))

    def test_downwards_is_fine(self):
        self.accepted({
            "src/base/error.h": "#include <string>\n",
            "src/te/stage.h": '#include "base/error.h"\n',
            "src/graph/graph.h": '#include "te/stage.h"\n',
            "src/passes/pipeline.cpp": '#include "graph/graph.h"\n#include "target/target.h"\n',
            "src/target/target.h": "",
        })

    def test_upwards(self):
        self.rejected({"src/te/a.cpp": '#include "graph/graph.h"\n', "src/graph/graph.h": ""},
                      "src/te/a.cpp:1: \"graph/graph.h\": te does not see graph")

    def test_sideways(self):
        self.rejected({"src/loop/a.cpp": '#include "te/te.h"\n', "src/te/te.h": ""},
                      "loop does not see te")

    def test_nothing_includes_driver(self):
        self.rejected({"src/passes/a.cpp": '#include "driver/compile.h"\n', "src/driver/compile.h": ""},
                      "nothing includes driver")

    def test_only_target_h_from_elsewhere(self):
        self.rejected({"src/passes/a.cpp": '#include "target/llvm/emit.h"\n', "src/target/llvm/emit.h": ""},
                      "of target/ only target/metadata.h, target/space.h, target/target.h are seen")

    def test_target_does_not_see_graph(self):
        self.rejected({"src/target/a.cpp": '#include "graph/graph.h"\n', "src/graph/graph.h": ""},
                      "target does not see graph")

    def test_runtime_stands_alone(self):
        self.rejected({"src/runtime/a.cpp": '#include "base/error.h"\n', "src/base/error.h": ""},
                      "runtime does not see base")

    def test_llvm_stays_in_its_folder(self):
        self.rejected({"src/passes/a.cpp": "#include <llvm/IR/Module.h>\n"}, "stay in target/llvm/")
        self.accepted({"src/target/llvm/emit.h": "#include <llvm/IR/Module.h>\n"})

    def test_llvm_does_not_leak_through_a_header(self):
        self.rejected({"src/target/targets.cpp": '#include "target/llvm/emit.h"\n',
                       "src/target/llvm/emit.h": "#include <llvm/IR/Module.h>\n"},
                      "has headers of LLVM and lld and stays in target/llvm/")

    def test_protobuf_in_a_header(self):
        self.rejected({"src/graph/wire.cpp": "#include <google/protobuf/message_lite.h>\n"},
                      "headers of protobuf stay in import/")
        self.rejected({"src/import/onnx/order.h": "#include <google/protobuf/message_lite.h>\n",
                       "src/driver/compile.cpp": '#include "import/onnx/order.h"\n'},
                      "has headers of protobuf and stays in import/")

    def test_a_relative_path_hides_nothing(self):
        self.rejected({"src/te/a.cpp": '#include "../graph/graph.h"\n', "src/graph/graph.h": ""},
                      "te does not see graph")

    def test_public_headers_take_standard_headers_only(self):
        self.rejected({"include/burnish/burnish.hpp": '#include "base/error.h"\n', "src/base/error.h": ""},
                      "public headers")

    def test_unknown_folder(self):
        self.rejected({"src/misc/a.cpp": ""}, "src/misc has no line in the dependency rule")


if __name__ == "__main__":
    unittest.main(verbosity=1)
