// A picture is cut into strips of rows that threads compress beside each other, each with the end of the one
// before as its dictionary, so that nothing is lost of the size. The strips depend on the picture alone, so
// the bytes are the same with any number of threads.
#include <sched.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

#include "diffract/core/error.h"
#include "diffract/io/png.h"

namespace diffract::io {
namespace {

constexpr size_t kMaxKeyBytes = 79;        // the format's own bound
constexpr size_t kStripBytes = 192 << 10;  // what a thread is worth starting for
constexpr size_t kMostThreads = 8;
constexpr int kLevel = 4;           // zlib's 6 takes half as long again and gives the same size for pictures
constexpr uInt kWindow = 32 << 10;  // how far deflate looks back
constexpr unsigned char kZlibHeader[] = {0x78, 0x5e};  // deflate, that window, a fast level

using Bytes = std::vector<unsigned char>;

void append(std::vector<std::byte>& to, const void* data, size_t size) {
  const auto* begin = static_cast<const std::byte*>(data);
  to.insert(to.end(), begin, begin + size);
}

std::array<unsigned char, 4> big_endian(uint32_t value) {
  return {static_cast<unsigned char>(value >> 24), static_cast<unsigned char>(value >> 16),
          static_cast<unsigned char>(value >> 8), static_cast<unsigned char>(value)};
}

void append_chunk(std::vector<std::byte>& to, const char* type, const Bytes& data) {
  if (data.size() > (size_t{1} << 31) - 1) throw InternalError("a PNG chunk of {} bytes", data.size());
  append(to, big_endian(static_cast<uint32_t>(data.size())).data(), 4);
  append(to, type, 4);
  append(to, data.data(), data.size());
  uLong crc = crc32(0, reinterpret_cast<const Bytef*>(type), 4);
  if (!data.empty()) crc = crc32(crc, data.data(), static_cast<uInt>(data.size()));
  append(to, big_endian(static_cast<uint32_t>(crc)).data(), 4);
}

bool is_plain_ascii(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); });
}

void append_text(std::vector<std::byte>& to, const PngText& text) {
  if (text.key.empty() || text.key.size() > kMaxKeyBytes)
    throw InternalError("PNG key \"{}\" is empty or too long", text.key);
  const bool is_plain = is_plain_ascii(text.value);
  Bytes data(text.key.begin(), text.key.end());
  data.insert(data.end(), is_plain ? 1 : 5, 0);  // iTXt: not compressed, of no language, no other key
  data.insert(data.end(), text.value.begin(), text.value.end());
  append_chunk(to, is_plain ? "tEXt" : "iTXt", data);
}

unsigned char color_type(const Image& image) {
  switch (image.channels) {
    case 1:
      return 0;
    case 3:
      return 2;
    case 4:
      return 6;
    default:
      throw InternalError("a picture with {} channels has no PNG form", image.channels);
  }
}

int paeth(int left, int up, int corner) {
  const int guess = left + up - corner;
  const int to_left = std::abs(guess - left), to_up = std::abs(guess - up),
            to_corner = std::abs(guess - corner);
  if (to_left <= to_up && to_left <= to_corner) return left;
  return to_up <= to_corner ? up : corner;
}

// One of the format's five filters over a row; `up` is the row above, zeros above the first.
void filter(int kind, const unsigned char* row, const unsigned char* up, size_t size, size_t channels,
            unsigned char* out) {
  const auto each = [&](const auto& predict) {
    for (size_t i = 0; i < std::min(channels, size); ++i)
      out[i] = static_cast<unsigned char>(row[i] - predict(0, up[i], 0));
    for (size_t i = channels; i < size; ++i)
      out[i] = static_cast<unsigned char>(row[i] - predict(row[i - channels], up[i], up[i - channels]));
  };
  switch (kind) {
    case 0:
      return each([](int, int, int) { return 0; });
    case 1:
      return each([](int left, int, int) { return left; });
    case 2:
      return each([](int, int above, int) { return above; });
    case 3:
      return each([](int left, int above, int) { return (left + above) / 2; });
    default:
      return each([](int left, int above, int corner) { return paeth(left, above, corner); });
  }
}

// How large the differences are: the filter that leaves the least compresses best, mostly.
uint64_t weight_of(const Bytes& filtered) {
  uint64_t sum = 0;
  for (const unsigned char byte : filtered)
    sum += static_cast<uint64_t>(std::abs(static_cast<signed char>(byte)));
  return sum;
}

void filter_rows(const Image& image, size_t first, size_t last, unsigned char* to) {
  const size_t size = size_t{image.width} * image.channels;
  const Bytes zeros(size);
  Bytes best(size), trial(size);
  for (size_t y = first; y < last; ++y) {
    const unsigned char* row = image.pixels.data() + y * size;
    const unsigned char* up = y > 0 ? row - size : zeros.data();
    uint64_t least = ~uint64_t{0};
    int chosen = 0;
    for (int kind = 0; kind < 5; ++kind) {
      filter(kind, row, up, size, image.channels, trial.data());
      const uint64_t weight = weight_of(trial);
      if (weight >= least) continue;
      least = weight;
      chosen = kind;
      std::swap(best, trial);
    }
    unsigned char* out = to + y * (size + 1);
    *out = static_cast<unsigned char>(chosen);
    std::copy(best.begin(), best.end(), out + 1);
  }
}

Bytes deflate_strip(const Bytes& all, size_t begin, size_t end) {
  z_stream stream{};
  if (deflateInit2(&stream, kLevel, Z_DEFLATED, -MAX_WBITS, /*memLevel=*/8, Z_FILTERED) != Z_OK)
    throw MemoryError("out of host memory: zlib could not begin");
  Bytes out(deflateBound(&stream, end - begin) + 16);
  const size_t known = std::min<size_t>(begin, kWindow);
  if (known > 0) deflateSetDictionary(&stream, all.data() + begin - known, static_cast<uInt>(known));
  stream.next_in = const_cast<Bytef*>(all.data() + begin);
  stream.avail_in = static_cast<uInt>(end - begin);
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  const bool is_last = end == all.size();
  const int result = deflate(&stream, is_last ? Z_FINISH : Z_SYNC_FLUSH);
  out.resize(out.size() - stream.avail_out);
  const bool is_whole = stream.avail_in == 0 && result == (is_last ? Z_STREAM_END : Z_OK);
  deflateEnd(&stream);
  if (!is_whole) throw InternalError("PNG encoder: zlib gave {}", result);
  return out;
}

size_t cores() {
  cpu_set_t set;
  return ::sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<size_t>(CPU_COUNT(&set)) : 1;
}

// work(i) for each i below `count`, beside each other where there are cores.
template <typename Work>
void for_each_beside(size_t count, const Work& work) {
  std::atomic<size_t> next = 0;
  std::exception_ptr failure;
  std::mutex mutex;
  const auto run = [&] {
    try {
      for (size_t i = next++; i < count; i = next++) work(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  const size_t wanted = std::min({count, cores(), kMostThreads});
  try {
    for (size_t i = 1; i < wanted; ++i) threads.emplace_back(run);
  } catch (const std::system_error&) {
    // Without the others this one does it all.
  }
  run();
  for (auto& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

std::vector<std::byte> encode_png(const Image& image, const std::vector<PngText>& texts) {
  if (image.pixels.size() != uint64_t{image.width} * image.height * image.channels || image.pixels.empty())
    throw InternalError("a {}x{} picture with {} channels has {} bytes", image.width, image.height,
                        image.channels, image.pixels.size());
  constexpr unsigned char kSignature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  std::vector<std::byte> file;
  append(file, kSignature, sizeof kSignature);
  Bytes header;
  for (const uint32_t side : {image.width, image.height})
    for (const unsigned char byte : big_endian(side)) header.push_back(byte);
  for (const unsigned char byte : {static_cast<unsigned char>(8), color_type(image)}) header.push_back(byte);
  header.insert(header.end(), 3, 0);  // the format's only compression and filters; not interlaced
  append_chunk(file, "IHDR", header);
  for (const PngText& text : texts) append_text(file, text);

  const size_t row = size_t{image.width} * image.channels + 1, rows = image.height;
  const size_t rows_each = std::max<size_t>(1, kStripBytes / row),
               strips = (rows + rows_each - 1) / rows_each;
  const auto first = [&](size_t strip) { return std::min(strip * rows_each, rows); };
  Bytes filtered(row * rows);
  for_each_beside(strips, [&](size_t i) { filter_rows(image, first(i), first(i + 1), filtered.data()); });
  struct Strip {
    Bytes compressed;
    uLong adler = 0;
  };
  std::vector<Strip> done(strips);
  for_each_beside(strips, [&](size_t i) {
    const size_t begin = first(i) * row, end = first(i + 1) * row;
    done[i].compressed = deflate_strip(filtered, begin, end);
    done[i].adler = adler32(adler32(0, nullptr, 0), filtered.data() + begin, static_cast<uInt>(end - begin));
  });
  uLong adler = adler32(0, nullptr, 0);
  for (size_t i = 0; i < strips; ++i) {
    adler = adler32_combine(adler, done[i].adler, static_cast<z_off_t>((first(i + 1) - first(i)) * row));
    Bytes& data = done[i].compressed;
    if (i == 0) data.insert(data.begin(), std::begin(kZlibHeader), std::end(kZlibHeader));
    if (i + 1 == strips)
      for (const unsigned char byte : big_endian(static_cast<uint32_t>(adler))) data.push_back(byte);
    append_chunk(file, "IDAT", data);
  }
  append_chunk(file, "IEND", {});
  return file;
}

}  // namespace diffract::io
