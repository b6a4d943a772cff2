#include "diffract/cli/progress.h"

#include <gtest/gtest.h>

#include <chrono>

#include "tests/support/process.h"
#include "tests/support/temp_folder.h"
#include "tests/support/terminal.h"

namespace diffract::cli {
namespace {

size_t characters(const std::string& text) {
  size_t all = 0;
  for (const char c : text) all += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return all;
}

TEST(ProgressLine, FitsIntoAnyWidth) {
  const ProgressState state{.done = 20, .total = 50, .begun = 0, .unit = "step", .seconds = 12};
  const std::string whole = progress_line(state, 200);
  EXPECT_EQ(whole.find(" 40%|"), 0u) << whole;
  EXPECT_NE(whole.find("| 20/50 [00:12<00:18, 1.67step/s]"), std::string::npos) << whole;
  for (size_t columns = 0; columns < 80; ++columns)
    EXPECT_LE(characters(progress_line(state, columns)), columns) << columns;
  EXPECT_NE(progress_line(state, 45).find("1.67step/s]"), std::string::npos);  // the bar grows short first
}

// What stands on a terminal after two pictures, whoever printed it: lines begin where lines begin.
TEST(Progress, LeavesATerminalInOrder) {
  const std::string model = test::data("reference/checkpoints/sd15").string();
  for (const int columns : {100, 50, 12}) {
    for (const bool launched : {false, true}) {
      const test::TempFolder folder;
      std::vector<std::string> command = {DIFFRACT_PROGRAM};
      if (launched) command.insert(command.end(), {"launch", "--nproc-per-node", "1"});
      command.insert(command.end(), {"generate", "--model", model, "--prompt", "a", "--prompt", "b",
                                     "--steps", "1", "--height", "64", "--width", "64", "--threads", "1"});
      const auto end = test::run_on_terminal(command, columns, folder.path().string());
      ASSERT_EQ(end.exit_code, 0) << end.shown;
      for (const char* line : {"diffract: ", "image_0.png", "image_1.png"})
        for (size_t at = end.shown.find(line); at != std::string::npos; at = end.shown.find(line, at + 1))
          EXPECT_TRUE(at == 0 || end.shown[at - 1] == '\n') << columns << ": " << end.shown;
      EXPECT_NE(end.shown.find("100%"), std::string::npos) << end.shown;
      for (size_t at = end.shown.find("100%"); at != std::string::npos; at = end.shown.find("100%", at + 1)) {
        const std::string bar = end.shown.substr(at, end.shown.find_first_of("\r\n", at) - at);
        EXPECT_LT(characters(bar), static_cast<size_t>(columns)) << bar;
      }
      EXPECT_FALSE(end.shown.ends_with("\n\r\n")) << end.shown;
    }
  }
}

TEST(Progress, SaysNothingOfWorkThatIsDoneAtOnce) {
  const auto begin = std::chrono::steady_clock::now();
  ::testing::internal::CaptureStderr();
  {
    Progress progress(2, "step", /*terminal=*/false);
    progress.show(1);
    progress.show(2);
  }
  const std::string said = ::testing::internal::GetCapturedStderr();
  const bool at_once = std::chrono::steady_clock::now() - begin < std::chrono::seconds(1);
  EXPECT_EQ(at_once ? said : "", "");  // a machine that stood still meanwhile may have its line
}

}  // namespace
}  // namespace diffract::cli
