#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "diffract/weights/part_reader.h"

namespace diffract::weights {

/// Parts on disk in the form in which they are used: what a checkpoint holds in float32 and is used in
/// bfloat16 is half as much to read each time. The files go when this does.
class OffloadFolder {
 public:
  /// Makes the folder. Throws IoError.
  explicit OffloadFolder(const std::filesystem::path& folder);
  ~OffloadFolder();
  OffloadFolder(const OffloadFolder&) = delete;
  OffloadFolder& operator=(const OffloadFolder&) = delete;

  /// Writes the part where any of it is converted; it then reads from there. Throws IoError naming the file.
  void take(Part& part, PartReader& reader);

 private:
  std::filesystem::path folder_;
  std::vector<std::filesystem::path> files_;
};

}  // namespace diffract::weights
