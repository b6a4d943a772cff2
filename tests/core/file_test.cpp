#include "diffract/core/file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>
#include <set>
#include <thread>

#include "diffract/core/error.h"
#include "tests/support/temp_folder.h"

namespace diffract {
namespace fs = std::filesystem;
namespace {

size_t files_in(const fs::path& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(LoadText, ReadsAWholeFileAndRefusesALargerOne) {
  const test::TempFolder folder;
  const auto file = folder.file("a.txt", std::string("a\0b", 3));
  EXPECT_EQ(load_text(file, 3), std::string("a\0b", 3));
  EXPECT_THROW(load_text(file, 2), CheckpointError);
}

TEST(LoadText, RefusesWhatIsNotARegularFileWithoutHanging) {
  const test::TempFolder folder;
  EXPECT_THROW(load_text(folder / "none", 10), CheckpointError);
  EXPECT_THROW(load_text(folder.path(), 10), CheckpointError);
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THROW(load_text(folder / "pipe", 10), CheckpointError);
}

TEST(LoadTextOrStream, ReadsAPipeToItsEndAndNotBeyondItsBound) {
  const test::TempFolder folder;
  const fs::path pipe = folder / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const std::string text(200'000, 'x');  // more than a pipe holds at once
  for (const uint64_t bound : {text.size(), text.size() - 1}) {
    std::thread writer([&] { std::ofstream(pipe, std::ios::binary) << text; });
    if (bound == text.size())
      EXPECT_EQ(load_text_or_stream(pipe, bound), text);
    else
      EXPECT_THROW(load_text_or_stream(pipe, bound), CheckpointError);
    writer.join();
  }
  EXPECT_EQ(load_text_or_stream(folder.file("a.txt", "abc"), 3), "abc");
  EXPECT_THROW(load_text_or_stream(folder / "none", 10), CheckpointError);
  EXPECT_THROW(load_text_or_stream(folder.path(), 10), CheckpointError);
}

TEST(IsStream, TellsWhatCanBeReadOnceOnly) {
  const test::TempFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  for (const fs::path& once :
       {fs::path("-"), fs::path("/dev/stdin"), fs::path("/dev/fd/63"), folder / "pipe"})
    EXPECT_TRUE(is_stream(once)) << once;
  for (const fs::path& file : {folder.file("a.txt", "a"), folder.path(), folder / "none"})
    EXPECT_FALSE(is_stream(file)) << file;
}

TEST(AtomicFile, AppearsWholeOrNotAtAll) {
  const test::TempFolder folder;
  {
    AtomicFile file(folder / "a.bin");
    file.write("half of it");
    EXPECT_FALSE(fs::exists(folder / "a.bin"));
  }
  EXPECT_EQ(files_in(folder.path()), 0u);  // given up: not even the temporary file is left
  AtomicFile file(folder / "a.bin");
  file.write("all of it");
  file.commit();
  EXPECT_EQ(load_text(folder / "a.bin", 100), "all of it");
  EXPECT_EQ(files_in(folder.path()), 1u);
}

TEST(AtomicFile, LeavesWhatIsNoRegularFileAsItIs) {
  const test::TempFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  fs::create_symlink("/dev/null", folder / "null");
  fs::create_directory(folder / "folder");
  fs::create_symlink("/proc/self/fd/1", folder / "stdout");
  for (const char* name : {"pipe", "null", "folder", "stdout"}) {
    EXPECT_THROW(AtomicFile(folder / name), IoError) << name;
  }
  EXPECT_TRUE(fs::is_fifo(folder / "pipe"));
  EXPECT_TRUE(fs::is_symlink(folder / "null"));
  EXPECT_EQ(files_in(folder.path()), 4u);
}

TEST(IsThere, SaysWhereItCannotTell) {
  const test::TempFolder folder;
  fs::create_symlink("loop", folder / "loop");
  EXPECT_TRUE(is_there(folder.path()));
  EXPECT_FALSE(is_there(folder / "none"));
  EXPECT_THROW(is_there(folder / "loop"), IoError);
}

TEST(AtomicFile, ReplacesAFileInOneStep) {
  const test::TempFolder folder;
  const auto path = folder.file("a.bin", "old");
  AtomicFile file(path);
  file.write("new");
  EXPECT_EQ(load_text(path, 100), "old");
  file.commit();
  EXPECT_EQ(load_text(path, 100), "new");
}

TEST(AtomicFile, NamesTheFileThatCannotBeWritten) {
  const auto message = test::error_of<IoError>([] { AtomicFile("/proc/none/a.bin"); });
  EXPECT_NE(message.find("/proc/none/a.bin"), std::string::npos) << message;
}

TEST(AtomicFile, ReportsAFullDisk) {
  // A limit on a file's size fails a write as a full disk does, and needs no disk to fill.
  const test::TempFolder folder;
  AtomicFile file(folder / "big");
  const struct sigaction ignore = [] {
    struct sigaction action {};
    action.sa_handler = SIG_IGN;
    return action;
  }();
  ::sigaction(SIGXFSZ, &ignore, nullptr);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{.rlim_cur = 1000, .rlim_max = before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  const auto message = test::error_of<IoError>([&] { file.write(std::string(5000, 'x')); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_NE(message.find("big"), std::string::npos) << message;
  EXPECT_FALSE(fs::exists(folder / "big"));
}

TEST(ErrorInfo, GivesEachKindItsOwnExitCode) {
  std::set<int> codes;
  for (const auto kind : {ErrorKind::usage, ErrorKind::checkpoint, ErrorKind::memory, ErrorKind::peer,
                          ErrorKind::io, ErrorKind::some_failed, ErrorKind::cancelled, ErrorKind::internal})
    codes.insert(error_info(kind).exit_code);
  EXPECT_EQ(codes.size(), 8u);
  EXPECT_EQ(error_info(ErrorKind::usage).exit_code, 2);
  EXPECT_EQ(codes.count(0), 0u);
}

}  // namespace
}  // namespace diffract
