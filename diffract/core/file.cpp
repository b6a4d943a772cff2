#include "diffract/core/file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/core/file_descriptor.h"

namespace diffract {
namespace fs = std::filesystem;
namespace {

fs::path folder_of(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

// ".name.4711.0.part" -> "name"; nothing for what is not an AtomicFile's.
std::string destination_of(std::string_view temporary) {
  if (!temporary.starts_with('.') || !temporary.ends_with(".part")) return {};
  std::string_view rest = temporary.substr(1, temporary.size() - 6);
  for (int number = 0; number < 2; ++number) {  // the process and its counter
    const size_t dot = rest.find_last_not_of("0123456789");
    if (dot == std::string_view::npos || rest[dot] != '.' || dot + 1 == rest.size()) return {};
    rest = rest.substr(0, dot);
  }
  return std::string(rest);
}

bool is_standard_input(const fs::path& file) {
  return file == "-" || file == "/dev/stdin" || file == "/dev/fd/0" || file == "/proc/self/fd/0";
}

[[noreturn]] void fail_to_open(const fs::path& file) {
  if (errno == ENOENT || errno == ENOTDIR) throw CheckpointError("{}: no such file", file.string());
  throw IoError("{}: cannot be opened: {}", file.string(), std::strerror(errno));
}

// Reads up to `size` bytes; fewer at the end only.
size_t read_some(int descriptor, char* to, size_t size, const fs::path& file) {
  size_t filled = 0;
  while (filled < size) {
    const ssize_t got = ::read(descriptor, to + filled, size - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {  // a stream that another program made so; wait for it
      pollfd polled{.fd = descriptor, .events = POLLIN, .revents = 0};
      ::poll(&polled, 1, -1);
      continue;
    }
    if (got < 0) throw IoError("{}: cannot be read: {}", file.string(), std::strerror(errno));
    if (got == 0) break;
    filled += static_cast<size_t>(got);
  }
  return filled;
}

}  // namespace

std::string load_text(const fs::path& file, uint64_t max_bytes) {
  // O_NONBLOCK: opening a named pipe must not hang.
  const FileDescriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!descriptor) fail_to_open(file);
  struct stat info {};
  if (::fstat(descriptor.get(), &info) != 0 || !S_ISREG(info.st_mode))
    throw CheckpointError("{}: not a regular file", file.string());
  const auto size = static_cast<uint64_t>(info.st_size);
  if (size > max_bytes)
    throw CheckpointError("{}: {} bytes; a file of this kind has at most {}", file.string(), size, max_bytes);
  std::string text(size, '\0');
  text.resize(read_some(descriptor.get(), text.data(), text.size(), file));
  return text;
}

bool is_stream(const fs::path& file) {
  if (is_standard_input(file) || file.string().starts_with("/dev/fd/")) return true;
  std::error_code none;
  const auto there = fs::status(file, none);
  return fs::exists(there) && !fs::is_regular_file(there) && !fs::is_directory(there);
}

std::string load_text_or_stream(const fs::path& file, uint64_t max_bytes) {
  if (!is_stream(file)) return load_text(file, max_bytes);
  // Not opened anew: that would begin a redirected file again, and a socket cannot be opened.
  const FileDescriptor descriptor(is_standard_input(file) ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                                          : ::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!descriptor) fail_to_open(file);
  constexpr size_t kPiece = 1 << 16;
  std::string text;
  for (size_t filled = 0;;) {
    text.resize(filled + kPiece);
    const size_t got = read_some(descriptor.get(), text.data() + filled, kPiece, file);
    filled += got;
    if (filled > max_bytes)
      throw CheckpointError("{}: more than {} bytes, the most that is read", file.string(), max_bytes);
    if (got == kPiece) continue;
    text.resize(filled);
    return text;
  }
}

bool is_there(const fs::path& file) {
  std::error_code failure;
  const bool found = fs::exists(file, failure);
  if (failure) throw IoError("{}: cannot be looked at: {}", file.string(), failure.message());
  return found;
}

void require_replaceable(const fs::path& file) {
  std::error_code none;
  const auto there = fs::status(file, none);
  // /dev/stdout is a link to what a descriptor of the process is open on, which may be a regular file.
  const bool is_descriptor =
      fs::is_symlink(file, none) && fs::read_symlink(file, none).string().starts_with("/proc/");
  if (is_descriptor || (fs::exists(there) && !fs::is_regular_file(there)))
    throw IoError("{}: is there and is {}; expected a file name", file.string(),
                  fs::is_directory(there) ? "a folder" : "no regular file");
}

AtomicFile::AtomicFile(fs::path destination) : destination_(std::move(destination)) {
  // Unique among the threads of this process and the processes of this host.
  static std::atomic<unsigned> counter{0};
  require_replaceable(destination_);
  const fs::path folder = folder_of(destination_);
  // A process of that number, on another host or killed long ago, may have left a file of the same name.
  constexpr int kMostAttempts = 1000;
  for (int attempt = 0; attempt < kMostAttempts && descriptor_ < 0; ++attempt) {
    temporary_ =
        folder / fmt::format(".{}.{}.{}.part", destination_.filename().string(), ::getpid(), counter++);
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (descriptor_ < 0 && errno != EEXIST) break;
  }
  if (descriptor_ < 0) fail("cannot be created");
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(descriptor_, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) fail("cannot be written");
    bytes = bytes.subspan(static_cast<size_t>(wrote));
  }
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail("cannot be written");
  if (::rename(temporary_.c_str(), destination_.c_str()) != 0) fail("cannot be put in place");
  ::close(descriptor_);
  descriptor_ = -1;
  // The rename itself must survive a power cut too; a folder that cannot be synced is not an error.
  const fs::path folder = folder_of(destination_);
  if (const int folder_descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      folder_descriptor >= 0) {
    ::fsync(folder_descriptor);
    ::close(folder_descriptor);
  }
}

void remove_leftovers(const std::set<fs::path>& folders,
                      const std::function<bool(const fs::path& file)>& is_meant) {
  for (const auto& folder : folders) {
    std::error_code ignored;
    std::vector<fs::path> leftovers;
    for (const auto& item : fs::directory_iterator(folder.empty() ? "." : folder, ignored)) {
      const std::string file = destination_of(item.path().filename().string());
      if (!file.empty() && is_meant(folder / file)) leftovers.push_back(item.path());
    }
    for (const fs::path& leftover : leftovers) fs::remove(leftover, ignored);
  }
}

void AtomicFile::fail(const char* doing) const {
  const int reason = errno;
  throw IoError("{}: {}: {}", destination_.string(), doing, std::strerror(reason));
}

}  // namespace diffract
