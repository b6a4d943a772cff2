#include "diffract/weights/part_reader.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "diffract/core/error.h"

namespace diffract::weights {
namespace {

// A read of this size keeps a disk busy and a copy's start-up cost small; larger ones measured slower.
constexpr uint64_t kChunk = uint64_t{4} << 20;
constexpr size_t kStagingBuffers = 4;
// Conversions go in pieces that libtorch does not share out among threads: those belong to the computing.
constexpr int64_t kPiece = 32768;

std::byte* data_of(const at::Tensor& bytes) { return static_cast<std::byte*>(bytes.data_ptr()); }

}  // namespace

at::Tensor page_aligned(uint64_t bytes, tensor::DeviceBackend* backend) {
  const auto size = static_cast<int64_t>(bytes + kPage);
  const at::Tensor memory = backend ? backend->pinned_memory(size) : at::empty({size}, at::kByte);
  const auto address = reinterpret_cast<uintptr_t>(memory.data_ptr());
  return memory.narrow(0, static_cast<int64_t>((kPage - address % kPage) % kPage),
                       static_cast<int64_t>(bytes));
}

/// A file as it is read in large pieces.
class PartReader::File {
 public:
  explicit File(const io::SafetensorsFile& file)
      : path_(file.path().string()),
        direct_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT)),
        buffered_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~File() {
    if (direct_ >= 0) ::close(direct_);
    if (buffered_ >= 0) ::close(buffered_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  /// Bytes begin to end of the file, in `buffer`; `mapped` is the same range in memory, and what is given
  /// where the file can no longer be opened. What the page cache has is read from there too, not from
  /// `mapped`: a file that has become shorter is then an error and not a signal.
  std::span<const std::byte> read(uint64_t begin, uint64_t end, std::span<const std::byte> mapped,
                                  std::byte* buffer) const {
    int descriptor = direct_ < 0 || is_cached(mapped) ? buffered_ : direct_;
    const uint64_t first = begin / kPage * kPage, size = rounded_up(end - first, kPage);
    uint64_t done = 0;
    while (first + done < end) {
      if (descriptor < 0) return mapped;
      const ssize_t got = ::pread(descriptor, buffer + done, size - done, static_cast<off_t>(first + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EINVAL && descriptor == direct_) {
        descriptor = buffered_;  // some file systems open for direct reads, but have none
        continue;
      }
      if (got < 0)
        throw IoError("{}: cannot be read at byte {}: {}", path_, first + done, std::strerror(errno));
      if (got == 0)
        throw IoError("{}: ends at byte {}; it was longer when it was opened. Was it replaced meanwhile?",
                      path_, first + done);
      done += static_cast<uint64_t>(got);
    }
    return {buffer + (begin - first), end - begin};
  }

 private:
  static bool is_cached(std::span<const std::byte> mapped) {
    const auto address = reinterpret_cast<uintptr_t>(mapped.data());
    const uintptr_t first = address / kPage * kPage;
    const uint64_t size = address + mapped.size() - first;
    std::vector<unsigned char> pages((size + kPage - 1) / kPage);
    void* begin = const_cast<std::byte*>(mapped.data()) - (address - first);
    if (::mincore(begin, size, pages.data()) != 0) return false;
    return std::all_of(pages.begin(), pages.end(), [](unsigned char page) { return page & 1; });
  }

  std::string path_;
  int direct_, buffered_;  // negative where the file cannot be opened so
};

PartReader::PartReader(at::Device device, tensor::DeviceBackend* backend)
    : device_(device),
      backend_(backend),
      copies_(backend ? backend->make_copy_stream(device.index()) : nullptr) {}

PartReader::~PartReader() {
  try {
    finish();                        // the buffers below are the copies'
  } catch (const std::exception&) {  // a device that is gone copies nothing more
  }
}

void PartReader::finish() {
  if (copies_) copies_->record()->synchronize();
}

const PartReader::File& PartReader::file_of(const PartTensor& tensor) {
  auto& file = files_[tensor.stored.file.get()];
  if (!file) file = std::make_unique<File>(*tensor.stored.file);
  return *file;
}

std::span<const std::byte> PartReader::fetch(const PartTensor& tensor, uint64_t begin, uint64_t end,
                                             std::byte* buffer) {
  const at::Tensor& view = tensor.stored.view;
  const std::span<const std::byte> mapped{static_cast<const std::byte*>(view.const_data_ptr()) + begin,
                                          end - begin};
  if (!tensor.stored.file) return mapped;  // made in memory (Checkpoint::made)
  return file_of(tensor).read(tensor.stored.offset + begin, tensor.stored.offset + end, mapped, buffer);
}

PartReader::Staging& PartReader::next_staging() {
  if (staging_.empty()) {
    std::vector<Staging> buffers;
    for (size_t i = 0; i < kStagingBuffers; ++i)
      buffers.push_back({page_aligned(kChunk + 2 * kPage, backend_), nullptr});
    staging_ = std::move(buffers);
  }
  Staging& staging = staging_[next_++ % staging_.size()];
  if (staging.in_use) staging.in_use->synchronize();
  staging.in_use = nullptr;
  return staging;
}

void PartReader::check_stopped(const PartTensor& tensor) const {
  if (stopped_) throw Cancelled("{}: not read to its end, as nobody needs it any more", tensor.name);
}

// From the disk to where it is used: on a CPU that computes meanwhile, a copy on the way costs a tenth of the
// time.
void PartReader::read_in_place(const PartTensor& tensor, const at::Tensor& memory) {
  const uint64_t offset = tensor.stored.offset, bytes = tensor.bytes();
  std::byte* const target = data_of(memory) + tensor.begin;
  for (uint64_t begin = 0, end = 0; begin < bytes; begin = end) {
    check_stopped(tensor);
    end = std::min(((offset + begin) / kChunk + 1) * kChunk - offset, bytes);  // a chunk of the file
    std::byte* const here = target + begin;
    const auto found = fetch(tensor, begin, end, here - (offset + begin) % kPage);
    if (found.data() != here) std::memcpy(here, found.data(), found.size());
  }
}

void PartReader::read_tensor(const PartTensor& tensor, const at::Tensor& memory, bool to_device) {
  const at::Tensor& view = tensor.stored.view;
  const auto width = static_cast<uint64_t>(view.element_size()), wide = c10::elementSize(tensor.dtype);
  const auto count = static_cast<uint64_t>(view.numel());
  const uint64_t step = kChunk / std::max(width, wide);
  if (!raw_.defined()) raw_ = page_aligned(kChunk + 2 * kPage);
  for (uint64_t begin = 0; begin < count; begin += step) {
    check_stopped(tensor);
    const uint64_t end = std::min(begin + step, count);
    const at::Tensor target = memory.narrow(0, static_cast<int64_t>(tensor.begin + begin * wide),
                                            static_cast<int64_t>((end - begin) * wide));
    Staging* staging = to_device ? &next_staging() : nullptr;
    const bool direct = staging && !tensor.is_converted();  // into the pinned buffer, no copy between
    const auto bytes = fetch(tensor, begin * width, end * width, data_of(direct ? staging->bytes : raw_));
    const auto length = static_cast<int64_t>(bytes.size());
    if (direct && bytes.data() >= data_of(staging->bytes) &&
        bytes.data() < data_of(staging->bytes) + staging->bytes.numel()) {
      copies_->copy(target, staging->bytes.narrow(0, bytes.data() - data_of(staging->bytes), length));
      staging->in_use = copies_->record();
      continue;
    }
    const at::Tensor landing = staging ? staging->bytes.narrow(0, 0, target.numel()) : target;
    if (!tensor.is_converted()) {
      std::memcpy(landing.data_ptr(), bytes.data(), bytes.size());
    } else {
      const at::Tensor from = at::from_blob(const_cast<std::byte*>(bytes.data()),
                                            {static_cast<int64_t>(end - begin)}, view.options());
      const at::Tensor to = landing.view(tensor.dtype);
      for (int64_t i = 0; i < to.numel(); i += kPiece) {
        const int64_t piece = std::min(kPiece, to.numel() - i);
        to.narrow(0, i, piece).copy_(converted(from.narrow(0, i, piece), tensor.storage, tensor.dtype));
      }
    }
    if (staging) {
      copies_->copy(target, landing);
      staging->in_use = copies_->record();
    }
  }
}

void PartReader::read_to_host(const Part& part, const at::Tensor& memory) {
  for (const PartTensor& tensor : part.tensors) read_tensor(tensor, memory, /*to_device=*/false);
}

void PartReader::read(const Part& part, const at::Tensor& memory) {
  if (part.host.defined()) {
    copies_->copy(memory, part.host);
    return;
  }
  const bool has_pages = !copies_ && reinterpret_cast<uintptr_t>(data_of(memory)) % kPage == 0;
  for (const PartTensor& tensor : part.tensors)
    if (has_pages && tensor.has_pages)
      read_in_place(tensor, memory);
    else
      read_tensor(tensor, memory, copies_ != nullptr);
}

}  // namespace diffract::weights
