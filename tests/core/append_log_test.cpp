#include "diffract/core/append_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <set>
#include <sstream>
#include <thread>

#include "diffract/core/error.h"
#include "diffract/core/file.h"
#include "diffract/core/file_descriptor.h"
#include "tests/support/temp_folder.h"

namespace diffract {
namespace {

std::multiset<std::string> lines_of(const std::filesystem::path& file) {
  std::istringstream text(load_text(file, 1 << 24));
  std::multiset<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.insert(line);
  return lines;
}

// As another process would, or one that is stopped.
FileDescriptor locked(const std::filesystem::path& file) {
  FileDescriptor holder(::open(file.c_str(), O_RDWR | O_CLOEXEC));
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  EXPECT_EQ(::fcntl(holder.get(), F_OFD_SETLK, &range), 0);
  return holder;
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

// Who rewrites a file may be stopped before it lets go of the old one.
TEST(AppendLog, FollowsAFileThatIsReplacedWhileItWaits) {
  const test::TempFolder folder;
  AppendLog log(folder.file("log", "old\n"));
  log.append("first");
  const FileDescriptor holder = locked(log.file());
  std::thread rewriter([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // while the line below waits
    std::filesystem::rename(folder.file("other", "new\n"), log.file());
  });
  log.append("second");
  rewriter.join();
  EXPECT_EQ(load_text(log.file(), 100), "new\nsecond\n");
}

TEST(AppendLog, RemovesWhatAKilledProcessLeftAndNotWhatAnotherWrites) {
  const test::TempFolder folder;
  AppendLog log(folder.file("log", "line\n"));
  const auto half = folder.file(".log.4711.0.part", "li");
  const auto same = [](const std::string& text) { return text; };
  {
    const FileDescriptor other = locked(log.file());
    log.rewrite(same);
    EXPECT_TRUE(std::filesystem::exists(half));
  }
  log.rewrite(same);
  EXPECT_FALSE(std::filesystem::exists(half));
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
