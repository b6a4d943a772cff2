// `diffract launch` without the rest of diffract, so that the tests start it in a moment. As in diffract,
// "generate" runs this program again: then it prints its arguments and ends with the code in GENERATE_EXIT_R
// for its rank R. LAUNCHER_WITHOUT_PIDFD takes the calls for pidfds from it and all below it, as old kernels
// and some sandboxes do.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/launch/launch.h"

namespace {

int generate(int argc, char** argv) {
  std::string line;
  for (int i = 2; i < argc; ++i) line += std::string(i > 2 ? " " : "") + argv[i];
  std::printf("generate(%s)\n", line.c_str());
  const std::string variable = std::string("GENERATE_EXIT_") + std::getenv("RANK");
  const char* code = std::getenv(variable.c_str());
  return code ? std::atoi(code) : 0;
}

bool forbid_pidfds() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_send_signal, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{.len = std::size(program), .filter = program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // as diffract does
  constexpr int kNoFilter = 99;
  if (std::getenv("LAUNCHER_WITHOUT_PIDFD") && !forbid_pidfds()) return kNoFilter;
  if (argc > 1 && std::string(argv[1]) == "generate" && std::getenv("RANK")) return generate(argc, argv);
  try {
    return diffract::launch::run({argv + 1, argv + argc}, [](const std::string& option) {
      return option == "--prompt" || option == "--cpu";
    });
  } catch (const diffract::Error& error) {
    diffract::log::write(diffract::log::Level::error, error.what());
    return diffract::error_info(error.kind()).exit_code;
  }
}
