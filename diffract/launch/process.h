#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

namespace diffract::launch {

/// A program to start: what is executed, its arguments (the first is its name) and its environment
/// (NAME=VALUE).
struct ProcessSpec {
  std::string file;
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  int standard_in, standard_out, standard_error;  // descriptors that become its 0, 1 and 2
  int inherited = -1;                             // one more descriptor that it keeps, under its number
};

/// Starts a program in a session of its own, with default signal handling. It gets SIGKILL when the thread
/// that calls this ends. Gives its pid, which stays its own until it is waited for. Throws UsageError when
/// the program cannot be executed, IoError when no process can be made.
pid_t start_process(const ProcessSpec& spec);

/// "SIGKILL"; "signal 99" for what has no name.
std::string signal_name(int signal);

}  // namespace diffract::launch
