#include "diffract/launch/program.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "diffract/core/error.h"
#include "diffract/launch/trailing_options.h"

namespace diffract::launch {
namespace {

namespace fs = std::filesystem;

std::string find_python() {
  if (const char* chosen = std::getenv("PYTHON_EXEC"); chosen && *chosen) return find_program(chosen);
  for (const char* name : {"python3", "python"})
    if (const std::string file = find_program(name); !file.empty()) return file;
  throw UsageError("no python3 in PATH to run a Python program with. Set PYTHON_EXEC, or give --no-python");
}

void require_executable(const std::string& file, const std::string& name) {
  std::error_code error;
  if (file.empty() || !fs::exists(file, error)) {
    const bool here = name.find('/') == std::string::npos && fs::exists(name, error);
    throw UsageError("program {} not found{}", name,
                     here ? " in PATH; there is one in this folder: write ./" + name
                     : name.find('/') == std::string::npos ? " in PATH"
                                                           : "");
  }
  if (fs::is_directory(file, error)) throw UsageError("program {} is a folder", name);
  if (::access(file.c_str(), X_OK) != 0)
    throw UsageError("program {} is not executable. Run chmod +x {}, or name its interpreter: launch sh {}",
                     name, file, name);
}

}  // namespace

Program find_worker_program(const LaunchOptions& options) {
  const std::string& name = options.command.front();
  Program program{.file = "", .arguments = options.command, .name = name};
  if (name == "generate") {
    std::error_code error;
    program.file = fs::read_symlink("/proc/self/exe", error).string();
    if (error) throw IoError("cannot find diffract's own file: {}", error.message());
    program.arguments.insert(program.arguments.begin(), program.file);
    program.generate = true;
    return program;
  }
  if (options.module || (name.ends_with(".py") && !options.no_python)) {
    std::error_code error;
    if (!options.module && !fs::is_regular_file(name, error)) throw UsageError("program {} not found", name);
    program.file = find_python();
    require_executable(program.file, "python3");
    std::vector<std::string> python = {program.file, "-u"};
    if (options.module) python.emplace_back("-m");
    program.arguments.insert(program.arguments.begin(), python.begin(), python.end());
    return program;
  }
  program.file = find_program(name);
  require_executable(program.file, name);
  return program;
}

}  // namespace diffract::launch
