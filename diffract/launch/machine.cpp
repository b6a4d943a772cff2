#include "diffract/launch/machine.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace diffract::launch {

int visible_gpus() {
  int count = 0;
  std::error_code error;
  // CUDA itself is not asked: the launcher runs before, and without, any of it.
  for (const auto& entry : std::filesystem::directory_iterator("/proc/driver/nvidia/gpus", error)) {
    (void)entry;
    ++count;
  }
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES")) {
    const std::string list = visible;
    if (list.empty() || list == "-1") return 0;
    count = std::min<int>(count, 1 + static_cast<int>(std::count(list.begin(), list.end(), ',')));
  }
  return count;
}

std::string host_name() {
  char name[256] = "";
  return ::gethostname(name, sizeof name - 1) == 0 && name[0] ? name : "localhost";
}

}  // namespace diffract::launch
