#include "diffract/core/append_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>

#include "diffract/core/error.h"

namespace diffract {
namespace {

// The file's lock among processes and, over NFS, hosts, where O_APPEND alone may lose lines. A stopped
// process may hold it and some file systems have none, so after a while the line is written without it: on a
// local disk O_APPEND suffices.
class FileLock {
 public:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    do {
      if (set(F_WRLCK)) {
        locked_ = true;
        return;
      }
      if (errno != EAGAIN && errno != EACCES && errno != EINTR) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    } while (std::chrono::steady_clock::now() < deadline);
  }
  ~FileLock() {
    if (locked_) set(F_UNLCK);
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  bool locked() const { return locked_; }

 private:
  bool set(short type) const {
    struct flock range {};
    range.l_type = type;
    range.l_whence = SEEK_SET;
    return ::fcntl(descriptor_, F_OFD_SETLK, &range) == 0;
  }
  int descriptor_;
  bool locked_ = false;
};

bool ends_inside_a_line(int descriptor, off_t size) {
  char last = '\n';
  return size > 0 && ::pread(descriptor, &last, 1, size - 1) == 1 && last != '\n';
}

}  // namespace

AppendLog::~AppendLog() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void AppendLog::append(std::string_view line) {
  if (descriptor_ < 0) descriptor_ = ::open(file_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail("cannot be opened");
  const FileLock lock(descriptor_);
  struct stat before {};
  if (::fstat(descriptor_, &before) != 0) fail("cannot be examined");
  std::string text = ends_inside_a_line(descriptor_, before.st_size) ? "\n" : "";
  text.append(line).append("\n");
  ssize_t wrote = 0;
  do {
    wrote = ::write(descriptor_, text.data(), text.size());  // one call: nobody else's line gets into it
  } while (wrote < 0 && errno == EINTR);
  if (wrote != static_cast<ssize_t>(text.size())) {
    const int reason = wrote < 0 ? errno : ENOSPC;  // a disk takes part of a line only when it is full
    std::error_code ignored;                        // a torn line that stays is closed by who comes next
    if (wrote > 0 && lock.locked())
      std::filesystem::resize_file(file_, static_cast<uintmax_t>(before.st_size), ignored);
    errno = reason;
    fail("cannot be written");
  }
  if (::fdatasync(descriptor_) != 0) fail("cannot be written");
}

void AppendLog::fail(const char* doing) const {
  throw IoError("{}: {}: {}", file_.string(), doing, std::strerror(errno));
}

}  // namespace diffract
