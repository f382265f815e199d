// burnish-worker SOCKET FOLDER: started by a search, never by hand.
#include <cstdlib>

#include "search/worker/worker.h"

#if defined(__SANITIZE_ADDRESS__)
// Candidates crash on purpose: whoever started this wants to see the signal. What they leave is the system's.
extern "C" const char* __asan_default_options() {
  return "handle_segv=0:handle_sigfpe=0:handle_sigill=0:handle_sigbus=0:handle_abort=0:detect_leaks=0";
}
#endif

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  char* end = nullptr;
  const long socket = std::strtol(argv[1], &end, 10);
  if (*end != '\0' || socket < 3 || socket > 1 << 20) return 2;
  setenv("TMPDIR", argv[2], 1);
  return burnish::search::serve(static_cast<int>(socket), argv[2]);
}
