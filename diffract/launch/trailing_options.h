#pragma once
#include <functional>
#include <string>
#include <vector>

#include "diffract/launch/option_table.h"

namespace diffract::launch {

/// Options of the launcher that stand behind the program, as in `launch run.py --num_processes=2`.
struct TrailingOptions {
  std::vector<GivenOption> taken;  // no longer in the command
  std::vector<std::string> left;   // as they are spelled: the program seems to have such an option itself
};
/// Takes them out of `command` when the program cannot know them: diffract's generate has no such option, or
/// neither the program's file nor a file among its arguments holds what may be the option's name. Nothing is
/// taken from behind "--".
TrailingOptions take_trailing_options(std::vector<std::string>& command,
                                      const std::function<bool(const std::string& option)>& generate_knows);

/// The file that a program's name stands for, looked up in PATH as a shell does; empty when there is none.
std::string find_program(const std::string& name);

}  // namespace diffract::launch
