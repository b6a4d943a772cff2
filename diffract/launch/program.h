#pragma once
#include <string>
#include <vector>

#include "diffract/launch/options.h"

namespace diffract::launch {

/// What a worker executes.
struct Program {
  std::string file;                    // the executable
  std::vector<std::string> arguments;  // the first is the program's name
  std::string name;                    // as the user wrote it, for messages
  bool generate = false;               // diffract's own
};

/// Finds what `options.command` asks for: "generate" is this very executable, a Python script or module is
/// run by PYTHON_EXEC, python3 or python. Throws UsageError when it is missing, a folder, or not executable.
Program find_worker_program(const LaunchOptions& options);

}  // namespace diffract::launch
