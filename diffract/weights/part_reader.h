#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "diffract/tensor/device_backend.h"
#include "diffract/weights/direct_file.h"
#include "diffract/weights/part.h"
#include "diffract/weights/staging.h"

namespace diffract::weights {

/// Reads parts from their files: past the page cache where the file system can, so that a model larger than
/// memory does not push everything else out of it, and from the page cache what is there already. Belongs to
/// one thread; while a read runs it may have others to help.
class PartReader {
 public:
  /// For memory of `device`; with a backend (an accelerator's) by way of pinned buffers and a copy stream.
  PartReader(at::Device device, tensor::DeviceBackend* backend);
  ~PartReader();
  PartReader(const PartReader&) = delete;
  PartReader& operator=(const PartReader&) = delete;

  /// Fills `memory` (on the device) with the tensors first to last of the part, from part.host or the files.
  /// On an accelerator the copies have begun when it returns; what copy_stream() records then marks their
  /// end. Throws IoError naming the file.
  void read(const Part& part, size_t first, size_t last, const PartMemory& memory);
  /// With all of them.
  void read(const Part& part, const PartMemory& memory) { read(part, 0, part.tensors.size(), memory); }
  /// The same while nothing computes: many threads read and convert a tensor. What it reads stays in the page
  /// cache, for the other processes of the host and for the next start.
  void load(const Part& part, const PartMemory& memory);
  /// Fills host memory with as many threads, past the page cache: it would need the same memory once more.
  void load_to_host(const Part& part, const PartMemory& memory);

  /// From any thread: a read that is going on ends with Cancelled, and so does every other.
  void stop() { stopped_ = true; }
  /// Returns when all copies that have begun are done.
  void finish();

  /// Null on the CPU.
  tensor::CopyStream* copy_stream() const { return copies_.get(); }

 private:
  struct FromFile;  // a tensor's file, and where it is read from
  const DirectFile& file_of(const PartTensor& tensor);
  struct Manner {
    bool to_device;
    size_t readers = 1;
    bool fills_page_cache = false;
  };
  void read_tensor(const PartTensor& tensor, const PartMemory& memory, const Manner& manner);
  void read_elements(const PartTensor& tensor, const FromFile& from, Stretch elements,
                     const at::Tensor& target, bool to_device);
  void copy_to_device(const at::Tensor& target, const at::Tensor& pinned, StagingBuffer& buffer);
  void read_in_place(std::span<const PartTensor> tensors, const PartMemory& memory);
  void check_stopped(const PartTensor& tensor) const;

  at::Device device_;
  tensor::DeviceBackend* backend_;
  std::unique_ptr<tensor::CopyStream> copies_;
  std::map<const io::SafetensorsFile*, std::unique_ptr<DirectFile>> files_;
  StagingBuffers staging_;
  std::mutex copies_mutex_;
  std::atomic<bool> stopped_ = false;
};

}  // namespace diffract::weights
