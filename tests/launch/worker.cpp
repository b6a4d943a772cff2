// A worker that beats: `launch_test_worker beat|hang|rest|leave SECONDS` or `large|accelerator SECONDS
// ALLOWANCE_MS`; `until FILE` hangs until the file is there.
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "diffract/core/heartbeat.h"

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::chrono::milliseconds allowance(argc > 3 ? std::atoi(argv[3]) : 0);
  const std::string mode = argv[1];
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(std::atof(argv[2]));
  diffract::heartbeat();
  if (mode == "rest") diffract::heartbeat_rest();
  if (mode == "large") diffract::heartbeat(allowance);
  if (mode == "accelerator") {
    diffract::heartbeat_queued(allowance);
    diffract::heartbeat();
  }
  std::printf("%s\n", mode.c_str());
  std::fflush(stdout);
  if (mode == "leave" && ::fork() == 0) {  // a child of a child, in a session of its own, deaf to SIGTERM
    ::setsid();
    if (::fork() == 0) {
      ::signal(SIGTERM, SIG_IGN);
      ::sleep(300);
    }
    ::_exit(0);
  }
  while (mode == "until" ? ::access(argv[2], F_OK) != 0 : std::chrono::steady_clock::now() < end) {
    if (mode == "beat" || mode == "leave") diffract::heartbeat();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return 0;
}
