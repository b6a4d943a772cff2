#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "diffract/tensor/device_backend.h"
#include "diffract/weights/direct_file.h"
#include "diffract/weights/part.h"

namespace diffract::weights {

/// Host memory (uint8) that begins with a page; pinned by the backend where there is one.
at::Tensor page_aligned(uint64_t bytes, tensor::DeviceBackend* backend = nullptr);

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
  /// Fills host memory.
  void read_to_host(const Part& part, const PartMemory& memory);

  /// From any thread: a read that is going on ends with Cancelled, and so does every other.
  void stop() { stopped_ = true; }
  /// Returns when all copies that have begun are done.
  void finish();

  /// Null on the CPU.
  tensor::CopyStream* copy_stream() const { return copies_.get(); }

 private:
  struct Staging {
    at::Tensor bytes;  // pinned, aligned to pages
    tensor::DeviceEventPtr in_use;
  };
  const DirectFile& file_of(const PartTensor& tensor);
  void read_tensor(const PartTensor& tensor, const PartMemory& memory, bool to_device);
  void read_in_place(std::span<const PartTensor> tensors, const PartMemory& memory);
  void check_stopped(const PartTensor& tensor) const;
  Staging& next_staging();

  at::Device device_;
  tensor::DeviceBackend* backend_;
  std::unique_ptr<tensor::CopyStream> copies_;
  std::map<const io::SafetensorsFile*, std::unique_ptr<DirectFile>> files_;
  at::Tensor raw_;                // what comes from a file
  std::vector<Staging> staging_;  // what goes to an accelerator
  size_t next_ = 0;
  std::atomic<bool> stopped_ = false;
};

}  // namespace diffract::weights
