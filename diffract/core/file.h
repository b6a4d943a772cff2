#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>

namespace diffract {

/// The whole of a regular file of at most `max_bytes`. Throws CheckpointError when it is missing or too large
/// and IoError when it cannot be read.
std::string load_text(const std::filesystem::path& file, uint64_t max_bytes);

/// The same for what another program writes as well: "-", which is the standard input, a pipe, a terminal.
/// It is read to its end.
std::string load_text_or_stream(const std::filesystem::path& file, uint64_t max_bytes);
/// True where what load_text_or_stream reads can be read once only, by one process.
bool is_stream(const std::filesystem::path& file);

/// Throws IoError where what is there is not to be replaced by a file: a folder, a device, a pipe, a
/// descriptor's link.
void require_replaceable(const std::filesystem::path& file);

/// Writes a file that appears whole or not at all: a temporary file in the same folder, fsync, rename.
/// Without `commit` the destructor removes the temporary file. All members throw IoError naming the file and
/// the reason. What is there and is not a regular file (a device, a pipe, a folder) is left as it is.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path destination);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  void commit();

 private:
  [[noreturn]] void fail(const char* doing) const;

  std::filesystem::path destination_, temporary_;
  int descriptor_ = -1;
};

/// Throws IoError where it cannot be told: no permission, a link to itself.
bool is_there(const std::filesystem::path& file);

/// Removes the temporary files that AtomicFiles left in these folders ("": the current one) when their
/// processes were killed, for the files that `is_meant` picks. Nobody may be writing one of those meanwhile.
void remove_leftovers(const std::set<std::filesystem::path>& folders,
                      const std::function<bool(const std::filesystem::path& file)>& is_meant);

}  // namespace diffract
