#include "diffract/core/append_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "diffract/core/error.h"
#include "diffract/core/file.h"

namespace diffract {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{1} << 32;
constexpr auto kLockPatience = std::chrono::seconds(2);

bool set_lock(int descriptor, short type) {
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  return ::fcntl(descriptor, F_OFD_SETLK, &range) == 0;
}

bool is_same_file(const std::filesystem::path& file, int descriptor) {
  struct stat there {
  }, here{};
  return ::stat(file.c_str(), &there) == 0 && ::fstat(descriptor, &here) == 0 &&
         there.st_ino == here.st_ino && there.st_dev == here.st_dev;
}

bool ends_inside_a_line(int descriptor, off_t size) {
  char last = '\n';
  return size > 0 && ::pread(descriptor, &last, 1, size - 1) == 1 && last != '\n';
}

}  // namespace

// The file's lock among processes and, over NFS, hosts, where O_APPEND alone may lose lines. A stopped
// process may hold it and some file systems have none, so after a while the work is done without it: on a
// local disk O_APPEND suffices for lines.
class AppendLog::Lock {
 public:
  Lock(AppendLog& log, int flags) : log_(log) {
    const auto deadline = std::chrono::steady_clock::now() + kLockPatience;
    do {
      log_.open(flags);
      if (log_.descriptor_ < 0) return;
      locked_ = set_lock(log_.descriptor_, F_WRLCK);
      if (locked_ && is_same_file(log_.file_, log_.descriptor_)) return;
      if (!locked_ && errno != EAGAIN && errno != EACCES && errno != EINTR) return;
      if (std::exchange(locked_, false)) continue;  // rewritten while we waited; open() takes the new one
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    } while (std::chrono::steady_clock::now() < deadline);
    log_.open(flags);
  }
  ~Lock() {
    if (locked_) set_lock(log_.descriptor_, F_UNLCK);
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  bool locked() const { return locked_; }

 private:
  AppendLog& log_;
  bool locked_ = false;
};

AppendLog::~AppendLog() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

// Leaves the descriptor at -1 for a file that is not there, unless `flags` make it. Closing a file that was
// replaced also takes the lock off it.
void AppendLog::open(int flags) {
  if (descriptor_ >= 0 && is_same_file(file_, descriptor_)) return;
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = ::open(file_.c_str(), O_RDWR | O_APPEND | O_CLOEXEC | flags, 0644);
  if (descriptor_ < 0 && (errno != ENOENT || flags != 0)) fail("cannot be opened");
}

void AppendLog::append(std::string_view line) {
  const Lock lock(*this, O_CREAT);
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

void AppendLog::rewrite(const std::function<std::string(const std::string& text)>& change) {
  const Lock lock(*this, 0);
  if (descriptor_ < 0) return;
  // A killed process left it half-written; who writes one now has the lock.
  if (lock.locked())
    remove_leftovers({file_.parent_path()},
                     [&](const auto& file) { return file.filename() == file_.filename(); });
  const std::string before = load_text(file_, kMaxBytes), after = change(before);
  if (after == before) return;
  AtomicFile anew(file_);
  anew.write(after);
  anew.commit();
}

void AppendLog::fail(const char* doing) const {
  throw IoError("{}: {}: {}", file_.string(), doing, std::strerror(errno));
}

}  // namespace diffract
