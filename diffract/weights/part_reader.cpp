#include "diffract/weights/part_reader.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <future>
#include <system_error>

#include "diffract/core/error.h"

namespace diffract::weights {
namespace {

// A copy's start-up cost is small beside a chunk of this size.
constexpr uint64_t kChunk = uint64_t{4} << 20;
// Several on their way keep a disk busy also while all cores compute and a read's end is seen late. Larger
// reads took longer in all on the disk that this was measured on, smaller ones cost the computing more.
constexpr uint64_t kRead = uint64_t{2} << 20;
constexpr uint64_t kReadsAtOnce = 4;
constexpr size_t kStagingBuffers = 4;
// Conversions go in pieces that libtorch does not share out among threads: those belong to the computing.
constexpr int64_t kPiece = 32768;

std::byte* data_of(const at::Tensor& bytes) { return static_cast<std::byte*>(bytes.data_ptr()); }

// Calls work(i) for begin <= i < end, kReadsAtOnce at once. Throws what the first that failed threw.
template <typename Work>
void in_parallel(uint64_t begin, uint64_t end, const Work& work) {
  std::atomic<uint64_t> next = begin;
  const auto work_on = [&] {
    try {
      for (uint64_t i = next++; i < end; i = next++) work(i);
    } catch (...) {
      next = end;  // the others need not go on
      throw;
    }
  };
  std::vector<std::future<void>> others;
  try {
    for (uint64_t i = 1; i < std::min(kReadsAtOnce, end - begin); ++i)
      others.push_back(std::async(std::launch::async, work_on));
  } catch (const std::system_error&) {  // no thread to be had: this one reads alone
  }
  std::exception_ptr failure;
  const auto keep_failure = [&](auto&& run) {
    try {
      run();
    } catch (...) {
      if (!failure) failure = std::current_exception();
    }
  };
  keep_failure(work_on);
  for (auto& other : others) keep_failure([&] { other.get(); });
  if (failure) std::rethrow_exception(failure);
}

// At most `most`; a change takes whole rows.
uint64_t numbers_at_once(const StoredTensor& stored, uint64_t most) {
  if (!stored.change) return most;
  const auto row = static_cast<uint64_t>(stored.row_length());
  if (row > most)
    throw CheckpointError("a tensor with rows of {} numbers is changed as it is read; expected at most {}",
                          row, most);
  return most / row * row;
}

}  // namespace

at::Tensor page_aligned(uint64_t bytes, tensor::DeviceBackend* backend) {
  const auto size = static_cast<int64_t>(bytes + kPage);
  const at::Tensor memory = backend ? backend->pinned_memory(size) : at::empty({size}, at::kByte);
  const auto address = reinterpret_cast<uintptr_t>(memory.data_ptr());
  return memory.narrow(0, static_cast<int64_t>((kPage - address % kPage) % kPage),
                       static_cast<int64_t>(bytes));
}

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

const DirectFile& PartReader::file_of(const PartTensor& tensor) {
  auto& file = files_[tensor.stored.file.get()];
  if (!file) file = std::make_unique<DirectFile>(*tensor.stored.file);
  return *file;
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
// time. `tensors` follow one another in their file and in memory.
void PartReader::read_in_place(std::span<const PartTensor> tensors, const PartMemory& memory) {
  const PartTensor& first = tensors.front();
  const uint64_t offset = first.stored.offset;
  const uint64_t bytes = tensors.back().begin + tensors.back().bytes() - first.begin;
  const auto* const mapped = static_cast<const std::byte*>(first.stored.view.const_data_ptr());
  std::byte* const target = data_of(memory.bytes) + (first.begin - memory.begin);
  const DirectFile& file = file_of(first);
  const ReadFrom source = file.best_source({mapped, bytes});
  in_parallel(offset / kRead, (offset + bytes - 1) / kRead + 1, [&](uint64_t read) {  // of the file
    check_stopped(first);
    const uint64_t begin = std::max(read * kRead, offset) - offset;
    const uint64_t end = std::min((read + 1) * kRead, offset + bytes) - offset;
    std::byte* const here = target + begin;
    const auto found = file.read(offset + begin, offset + end, {mapped + begin, end - begin},
                                 here - (offset + begin) % kPage, source);
    if (found.data() != here) std::memcpy(here, found.data(), found.size());
  });
}

void PartReader::read_tensor(const PartTensor& tensor, const PartMemory& memory, bool to_device) {
  const at::Tensor& view = tensor.stored.view;
  const auto width = static_cast<uint64_t>(view.element_size()), wide = c10::elementSize(tensor.dtype);
  const auto count = static_cast<uint64_t>(view.numel());
  const uint64_t step = numbers_at_once(tensor.stored, kChunk / std::max(width, wide));
  const std::span<const std::byte> mapped{static_cast<const std::byte*>(view.const_data_ptr()),
                                          view.nbytes()};
  const DirectFile* const file = tensor.stored.file ? &file_of(tensor) : nullptr;  // null: made in memory
  const ReadFrom source = file ? file->best_source(mapped) : ReadFrom::page_cache;
  const auto fetch = [&](uint64_t begin, uint64_t end, std::byte* buffer) {
    const auto in_memory = mapped.subspan(begin, end - begin);
    const uint64_t offset = tensor.stored.offset;
    return file ? file->read(offset + begin, offset + end, in_memory, buffer, source) : in_memory;
  };
  if (!raw_.defined()) raw_ = page_aligned(kChunk + 2 * kPage);
  for (uint64_t begin = 0; begin < count; begin += step) {
    check_stopped(tensor);
    const uint64_t end = std::min(begin + step, count);
    const at::Tensor target = memory.elements(tensor, begin, end);
    Staging* staging = to_device ? &next_staging() : nullptr;
    const bool direct = staging && !tensor.is_converted();  // into the pinned buffer, no copy between
    const auto bytes = fetch(begin * width, end * width, data_of(direct ? staging->bytes : raw_));
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
      at::Tensor changed = to;
      change(tensor.stored, changed, static_cast<int64_t>(begin) / tensor.stored.row_length());
    }
    if (staging) {
      copies_->copy(target, landing);
      staging->in_use = copies_->record();
    }
  }
}

void PartReader::read_to_host(const Part& part, const PartMemory& memory) {
  for (const PartTensor& tensor : part.tensors) read_tensor(tensor, memory, /*to_device=*/false);
}

void PartReader::read(const Part& part, size_t first, size_t last, const PartMemory& memory) {
  if (first == last) return;
  if (part.host.defined()) {
    const PartTensor &begin = part.tensors[first], &end = part.tensors[last - 1];
    const auto bytes = static_cast<int64_t>(end.begin + end.bytes() - begin.begin);
    copies_->copy(memory.bytes.narrow(0, static_cast<int64_t>(begin.begin - memory.begin), bytes),
                  part.host.narrow(0, static_cast<int64_t>(begin.begin), bytes));
    return;
  }
  const bool has_pages =
      !copies_ && (reinterpret_cast<uintptr_t>(data_of(memory.bytes)) - memory.begin) % kPage == 0;
  const std::span<const PartTensor> tensors = std::span(part.tensors).subspan(first, last - first);
  for (size_t begin = 0, end = 0; begin < tensors.size(); begin = end) {
    end = begin + 1;
    if (!has_pages || !tensors[begin].has_pages) {
      read_tensor(tensors[begin], memory, copies_ != nullptr);
      continue;
    }
    while (end < tensors.size() && tensors[end].continues(tensors[end - 1])) ++end;
    read_in_place(tensors.subspan(begin, end - begin), memory);
  }
}

}  // namespace diffract::weights
