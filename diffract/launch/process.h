#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "diffract/core/file_descriptor.h"

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

struct Process {
  pid_t pid = -1;
  FileDescriptor handle;  // a pidfd: names this process even after its pid has passed to another
};

/// Starts a program in a session of its own, with default signal handling. It gets SIGKILL when the thread
/// that calls this ends. Throws UsageError when the program cannot be executed, IoError when no process can
/// be made.
Process start_process(const ProcessSpec& spec);

/// A pidfd; none when there is no such process.
FileDescriptor open_process(pid_t pid);
/// Sends a signal by pidfd; false when the process is gone.
bool signal_process(int handle, int signal);

/// "SIGKILL"; "signal 99" for what has no name.
std::string signal_name(int signal);

}  // namespace diffract::launch
