#include "harness/run/build_id.hpp"

#include <elf.h>
#include <fmt/format.h>
#include <link.h>

#include <cstddef>
#include <cstring>
#include <string_view>

namespace groundstate::harness {
namespace {

std::size_t padded(std::size_t size) { return (size + 3) / 4 * 4; }

// A note is its header, its owner and its content, the latter two padded to four bytes.
std::string find_in(std::string_view notes) {
  for (ElfW(Nhdr) header; notes.size() >= sizeof header;) {
    std::memcpy(&header, notes.data(), sizeof header);
    const std::size_t content = sizeof header + padded(header.n_namesz),
                      end = content + padded(header.n_descsz);
    if (end > notes.size()) break;
    if (header.n_type == NT_GNU_BUILD_ID &&
        notes.substr(sizeof header, header.n_namesz) == std::string_view("GNU", 4)) {
      std::string text;
      for (const char byte : notes.substr(content, header.n_descsz))
        text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
      return text;
    }
    notes.remove_prefix(end);
  }
  return {};
}

}  // namespace

std::string build_id() {
  std::string id;
  // The first object is the program itself.
  dl_iterate_phdr(
      [](dl_phdr_info* object, std::size_t, void* data) {
        for (int i = 0; i < object->dlpi_phnum; ++i) {
          const auto& segment = object->dlpi_phdr[i];
          auto& found = *static_cast<std::string*>(data);
          if (segment.p_type == PT_NOTE && found.empty())
            found = find_in({reinterpret_cast<const char*>(object->dlpi_addr + segment.p_vaddr),
                             segment.p_memsz});
        }
        return 1;
      },
      &id);
  return id.empty() ? "unknown" : id;
}

}  // namespace groundstate::harness
