// burnish-worker SOCKET: started by a search, never by hand.
#include <cstdlib>

#include "search/worker/worker.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  char* end = nullptr;
  const long socket = std::strtol(argv[1], &end, 10);
  if (*end != '\0' || socket < 3 || socket > 1 << 20) return 2;
  return burnish::search::serve(static_cast<int>(socket));
}
