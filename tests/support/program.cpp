#include "tests/support/program.h"

namespace diffract::test {

ProgramResult run_diffract(const std::vector<std::string>& arguments, const std::string& folder,
                           std::chrono::seconds timeout) {
  std::vector<std::string> command = {DIFFRACT_PROGRAM};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return RunningProcess(command, {}, folder).wait(timeout);
}

}  // namespace diffract::test
