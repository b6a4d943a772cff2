#include "diffract/weights/part_reader.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <future>
#include <system_error>

#include "diffract/core/error.h"
#include "diffract/tensor/threads.h"

namespace diffract::weights {
namespace {

// A copy's start-up cost is small beside a chunk of this size. With its pages and their alignment it takes 4
// MiB, since pinned memory comes in powers of two.
constexpr uint64_t kChunk = (uint64_t{4} << 20) - 3 * kPage;
// Several on their way keep a disk busy also while all cores compute and a read's end is seen late. Larger
// reads took longer in all on the disk that this was measured on, smaller ones cost the computing more.
constexpr uint64_t kRead = uint64_t{2} << 20;
constexpr uint64_t kReadsAtOnce = 4;
// While a model is loaded. Eight read 20 GB/s from the page cache of the machine that this was measured on,
// 16 read 17.
constexpr int kMostLoadingReaders = 8;
constexpr size_t kSpareBuffers = 3;  // whose copies run while another is filled
// Conversions go in pieces that libtorch does not share out among threads: those belong to the computing.
constexpr int64_t kPiece = 32768;

size_t loading_readers() {
  return static_cast<size_t>(std::clamp(at::get_num_threads(), 1, kMostLoadingReaders));
}

std::byte* data_of(const at::Tensor& bytes) { return static_cast<std::byte*>(bytes.data_ptr()); }

// Calls work(i) for begin <= i < end, by `threads` at once. Throws what the first that failed threw.
template <typename Work>
void in_parallel(uint64_t begin, uint64_t end, uint64_t threads, const Work& work) {
  std::atomic<uint64_t> next = begin;
  const auto work_on = [&] {
    const c10::InferenceMode no_autograd;  // the memory may have been taken in it
    const tensor::OneThread alone;         // conversions and changes: these threads are the parallel ones
    try {
      for (uint64_t i = next++; i < end; i = next++) work(i);
    } catch (...) {
      next = end;  // the others need not go on
      throw;
    }
  };
  std::vector<std::future<void>> others;
  try {
    for (uint64_t i = 1; i < std::min(threads, end - begin); ++i)
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
  if (!stored.change || stored.view.numel() == 0) return most;
  const auto row = static_cast<uint64_t>(stored.row_length());
  if (row > most)
    throw CheckpointError("a tensor with rows of {} numbers is changed as it is read; expected at most {}",
                          row, most);
  return most / row * row;
}

}  // namespace

PartReader::PartReader(at::Device device, tensor::DeviceBackend* backend)
    : device_(device),
      backend_(backend),
      copies_(backend ? backend->make_copy_stream(device.index()) : nullptr),
      staging_(kChunk + 2 * kPage, backend ? kSpareBuffers : 0, backend) {}

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
  in_parallel(offset / kRead, (offset + bytes - 1) / kRead + 1, kReadsAtOnce,
              [&](uint64_t read) {  // of the file
                check_stopped(first);
                const uint64_t begin = std::max(read * kRead, offset) - offset;
                const uint64_t end = std::min((read + 1) * kRead, offset + bytes) - offset;
                std::byte* const here = target + begin;
                const auto found = file.read(offset + begin, offset + end, {mapped + begin, end - begin},
                                             here - (offset + begin) % kPage, source);
                if (found.data() != here) std::memcpy(here, found.data(), found.size());
              });
}

struct PartReader::FromFile {
  const PartTensor& tensor;
  std::span<const std::byte> mapped;  // all of the tensor
  const DirectFile* file;             // null: made in memory
  ReadFrom source = ReadFrom::page_cache;

  // Bytes of the tensor, in `buffer` or where they are in memory.
  std::span<const std::byte> read(Stretch bytes, std::byte* buffer) const {
    const auto in_memory = mapped.subspan(bytes.begin, bytes.bytes());
    const uint64_t offset = tensor.stored.offset;
    return file ? file->read(offset + bytes.begin, offset + bytes.end, in_memory, buffer, source) : in_memory;
  }
};

void PartReader::copy_to_device(const at::Tensor& target, const at::Tensor& pinned, StagingBuffer& buffer) {
  const std::lock_guard lock(copies_mutex_);  // a copy stream belongs to one thread at a time
  copies_->copy(target, pinned);
  buffer.in_use = copies_->record();
}

void PartReader::read_elements(const PartTensor& tensor, const FromFile& from, Stretch elements,
                               const at::Tensor& target, bool to_device) {
  StagingBuffer buffer = staging_.take();
  const auto width = static_cast<uint64_t>(tensor.stored.view.element_size());
  // What is not converted goes into the pinned buffer, without a copy between.
  const at::Tensor& arrival = tensor.is_converted() || !to_device ? staging_.raw_of(buffer) : buffer.landing;
  const auto bytes = from.read({elements.begin * width, elements.end * width}, data_of(arrival));
  at::Tensor landing = to_device ? buffer.landing.narrow(0, 0, target.numel()) : target;
  const auto begin = bytes.data() - data_of(buffer.landing);
  if (!tensor.is_converted() && to_device && begin >= 0 && begin < buffer.landing.numel()) {
    landing = buffer.landing.narrow(0, begin, target.numel());
  } else if (!tensor.is_converted()) {
    std::memcpy(landing.data_ptr(), bytes.data(), bytes.size());
  } else {
    const at::Tensor stored =
        at::from_blob(const_cast<std::byte*>(bytes.data()), {static_cast<int64_t>(elements.bytes())},
                      tensor.stored.view.options());
    const at::Tensor to = landing.view(tensor.dtype);
    for (int64_t i = 0; i < to.numel(); i += kPiece) {
      const int64_t piece = std::min(kPiece, to.numel() - i);
      to.narrow(0, i, piece).copy_(converted(stored.narrow(0, i, piece), tensor.storage, tensor.dtype));
    }
    at::Tensor changed = to;
    change(tensor.stored, changed, static_cast<int64_t>(elements.begin) / tensor.stored.row_length());
  }
  if (to_device) copy_to_device(target, landing, buffer);
  staging_.give_back(std::move(buffer));
}

void PartReader::read_tensor(const PartTensor& tensor, const PartMemory& memory, const Manner& manner) {
  const at::Tensor& view = tensor.stored.view;
  const auto count = static_cast<uint64_t>(view.numel());
  const uint64_t most =
      kChunk / std::max<uint64_t>(static_cast<uint64_t>(view.element_size()), c10::elementSize(tensor.dtype));
  const uint64_t step = numbers_at_once(tensor.stored, most);
  FromFile from{.tensor = tensor,
                .mapped = {static_cast<const std::byte*>(view.const_data_ptr()), view.nbytes()},
                .file = tensor.stored.file ? &file_of(tensor) : nullptr};
  if (from.file) from.source = from.file->best_source(from.mapped);
  if (manner.fills_page_cache && from.source == ReadFrom::disk) {
    from.file->will_need(tensor.stored.offset, tensor.stored.offset + view.nbytes());
    from.source = ReadFrom::page_cache;
  }
  in_parallel(0, (count + step - 1) / step, manner.readers, [&](uint64_t chunk) {
    check_stopped(tensor);
    const Stretch elements{chunk * step, std::min((chunk + 1) * step, count)};
    read_elements(tensor, from, elements, memory.elements(tensor, elements.begin, elements.end),
                  manner.to_device);
  });
}

void PartReader::load(const Part& part, const PartMemory& memory) {
  for (const PartTensor& tensor : part.tensors)
    read_tensor(tensor, memory,
                {.to_device = backend_ != nullptr, .readers = loading_readers(), .fills_page_cache = true});
}

void PartReader::load_to_host(const Part& part, const PartMemory& memory) {
  for (const PartTensor& tensor : part.tensors)
    read_tensor(tensor, memory, {.to_device = false, .readers = loading_readers()});
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
      read_tensor(tensors[begin], memory, {.to_device = backend_ != nullptr});
      continue;
    }
    while (end < tensors.size() && tensors[end].continues(tensors[end - 1])) ++end;
    read_in_place(tensors.subspan(begin, end - begin), memory);
  }
}

}  // namespace diffract::weights
