#include "diffract/core/append_log.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <set>
#include <sstream>

#include "diffract/core/error.h"
#include "diffract/core/file.h"
#include "tests/support/temp_folder.h"

namespace diffract {
namespace {

std::multiset<std::string> lines_of(const std::filesystem::path& file) {
  std::istringstream text(load_text(file, 1 << 24));
  std::multiset<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.insert(line);
  return lines;
}

TEST(AppendLog, ClosesALineThatACrashTore) {
  const test::TempFolder folder;
  AppendLog log(folder.file("log", "whole\nto"));
  log.append("next");
  EXPECT_EQ(load_text(log.file(), 100), "whole\nto\nnext\n");
}

TEST(AppendLog, TakesBackALineThatTheDiskHasNoRoomFor) {
  const test::TempFolder folder;
  AppendLog log(folder / "log");
  log.append("fits");
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit tight{.rlim_cur = 10, .rlim_max = before.rlim_max};
  std::signal(SIGXFSZ, SIG_IGN);
  ::setrlimit(RLIMIT_FSIZE, &tight);
  EXPECT_THROW(log.append("does not fit"), IoError);
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(load_text(log.file(), 100), "fits\n");
  log.append("room again");
  EXPECT_EQ(load_text(log.file(), 100), "fits\nroom again\n");
}

// Four processes append while this one takes lines out: none is lost, none is torn.
TEST(AppendLog, IsSharedByProcesses) {
  constexpr int kProcesses = 4, kLines = 60;
  const test::TempFolder folder;
  const auto file = folder.file("log", "old\n");
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      AppendLog log(file);
      for (int i = 0; i < kLines; ++i) log.append(fmt::format("{} {} {}", p, i, std::string(200, 'x')));
      ::_exit(0);
    }
    children.push_back(child);
  }
  AppendLog log(file);
  for (int i = 0; i < 30; ++i)
    log.rewrite([i](const std::string& text) { return fmt::format("rewritten {}\n{}", i, text); });
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  std::multiset<std::string> expected = {"old"};
  for (int i = 0; i < 30; ++i) expected.insert(fmt::format("rewritten {}", i));
  for (int p = 0; p < kProcesses; ++p)
    for (int i = 0; i < kLines; ++i) expected.insert(fmt::format("{} {} {}", p, i, std::string(200, 'x')));
  EXPECT_EQ(lines_of(file), expected);
}

TEST(AppendLog, RewritesNothingWhereNothingIs) {
  const test::TempFolder folder;
  AppendLog log(folder / "log");
  log.rewrite([](const std::string&) { return "text"; });
  EXPECT_FALSE(std::filesystem::exists(log.file()));
  AppendLog nowhere(folder / "none" / "log");
  EXPECT_THROW(nowhere.append("line"), IoError);
}

}  // namespace
}  // namespace diffract
