#include "diffract/launch/process_name.h"

#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>

namespace diffract::launch {
namespace {

// The memory of the command line, which the kernel shows: fields 48 and 49 of /proc/self/stat.
struct Room {
  uintptr_t begin = 0, end = 0;
};
Room command_line() {
  std::ifstream file("/proc/self/stat");
  std::string text;
  std::getline(file, text);
  const size_t close = text.rfind(')');  // the name may hold anything
  if (close == std::string::npos) return {};
  std::istringstream fields(text.substr(close + 1));
  std::string skipped;
  constexpr int kBetween = 45;  // from the state (3rd) to the one before
  for (int i = 0; i < kBetween; ++i) fields >> skipped;
  Room room;
  fields >> room.begin >> room.end;
  return fields ? room : Room{};
}

}  // namespace

void name_process(const std::string& name, const std::string& command) {
  ::prctl(PR_SET_NAME, name.c_str());
  const Room room = command_line();
  // Where the memory is elsewhere (another kernel, a tool that runs the program), nothing is touched.
  if (room.begin >= room.end || room.begin != reinterpret_cast<uintptr_t>(program_invocation_name)) return;
  char* const at = program_invocation_name;
  const size_t size = room.end - room.begin;
  // Zeros behind it: with any other last byte the kernel would show the environment as well.
  const size_t kept = std::min(command.size(), size - 1);
  std::memcpy(at, command.data(), kept);
  std::memset(at + kept, 0, size - kept);
}

}  // namespace diffract::launch
