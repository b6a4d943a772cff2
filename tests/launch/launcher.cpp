// `diffract launch` without the rest of diffract, so that the tests start it in a moment. As in diffract,
// "generate" runs this program again: then it prints its arguments and ends with the code in GENERATE_EXIT_R
// for its rank R.
#include <csignal>
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

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // as diffract does
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
