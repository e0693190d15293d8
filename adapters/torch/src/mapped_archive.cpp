/* SPDX-License-Identifier: Apache-2.0 */
/* An archive is a zip file that keeps its tensors as they are, at multiples of 64 bytes: what a
 * tensor needs is there once the file is mapped. libtorch has no way to say so, but lets others
 * read for it, into memory that it allocates. So what is asked to read a tensor leaves that memory
 * alone, of which no page is there before the first write, and remembers where it would have read.
 * When the module is whole, its storages are pointed into the mapping, and the memory is let go. */
#include "mapped_archive.hpp"

#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>
#include <unordered_map>
#include <unordered_set>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <caffe2/serialize/inline_container.h>
#include <caffe2/serialize/read_adapter_interface.h>
#include <torch/csrc/jit/serialization/import.h>

#include "guard.hpp"

namespace engine
{
namespace
{
using caffe2::serialize::PyTorchStreamReader;

/* Writes stay in the process. */
class Mapping
{
public:
    explicit Mapping(const std::string &path)
    {
        struct stat about;
        int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
        void *memory = MAP_FAILED;

        if (fd >= 0 && fstat(fd, &about) == 0) {
            size_ = static_cast<size_t>(about.st_size);
            memory = mmap(nullptr, size_ + 1, PROT_READ | PROT_WRITE, /* a length of 0 is none */
                          MAP_PRIVATE | MAP_NORESERVE, fd, 0);
        }
        int error = errno;
        if (fd >= 0)
            (void)close(fd);
        if (memory == MAP_FAILED)
            throw Error(ACCEL_ERR_IO, "'" + path + "' cannot be mapped: " +
                                          std::generic_category().message(error));
        data_ = static_cast<char *>(memory);
    }
    ~Mapping() { (void)munmap(data_, size_ + 1); }
    Mapping(const Mapping &) = delete;
    Mapping &operator=(const Mapping &) = delete;

    char *data() const { return data_; }
    size_t size() const { return size_; }

private:
    char *data_ = nullptr;
    size_t size_ = 0;
};

/* What libtorch reads through. */
class Reader : public caffe2::serialize::ReadAdapterInterface
{
public:
    explicit Reader(const std::string &path) : mapping_(std::make_shared<Mapping>(path)) {}

    size_t size() const override { return mapping_->size(); }

    size_t read(uint64_t position, void *memory, size_t size, const char *) const override
    {
        if (position > mapping_->size() || size > mapping_->size() - position)
            return 0; /* the file says what is not so; libtorch finds that too little was read */
        if (size >= SMALL && tensors_.count(position))
            left_out_[memory] = position;
        else
            std::memcpy(memory, mapping_->data() + position, size);
        return size;
    }

    /* From now on these are not read. */
    void leave_out(std::unordered_set<uint64_t> tensors) { tensors_ = std::move(tensors); }

    /* Point the storages whose data was not read to where they are. False: some are not in the
     * module, which was made with data that was not there. */
    bool attach(const torch::jit::Module &module)
    {
        c10::IValue(module._ivalue()).visit([this](const c10::IValue &value) {
            if (value.isTensor() && value.toTensor().has_storage())
                attach(*value.toTensor().storage().unsafeGetStorageImpl());
            return false; /* look into it, too */
        });
        return left_out_.empty();
    }

private:
    enum : size_t { SMALL = 4096 }; /* shares its page with others */

    void attach(c10::StorageImpl &storage)
    {
        auto found = left_out_.find(storage.data());

        if (found == left_out_.end())
            return;
        using Owner = std::shared_ptr<Mapping>;
        storage.set_data_ptr(at::DataPtr(
            mapping_->data() + found->second, new Owner(mapping_),
            [](void *owner) { delete static_cast<Owner *>(owner); }, at::kCPU));
        left_out_.erase(found);
    }

    std::shared_ptr<Mapping> mapping_;
    std::unordered_set<uint64_t> tensors_;                        /* positions in the file */
    mutable std::unordered_map<const void *, uint64_t> left_out_; /* memory; read() is const */
};

bool begins(const std::string &text, const char *with)
{
    return text.compare(0, std::strlen(with), with) == 0;
}

/* Does loading compute with tensors? So do objects that restore themselves. */
bool runs_code(PyTorchStreamReader &archive, const std::string &record)
{
    auto [bytes, size] = archive.getRecord(record);
    std::string text(static_cast<const char *>(bytes.get()), size);

    return text.find("__setstate__") != std::string::npos ||
           text.find("__torch__.torch.classes.") != std::string::npos;
}

/* Where the tensors begin; empty if they must be there while the archive is loaded. */
std::unordered_set<uint64_t> find_tensors(const std::shared_ptr<Reader> &reader)
{
    enum : size_t { ALIGNMENT = 64 };
    PyTorchStreamReader archive(reader);
    std::unordered_set<uint64_t> tensors;

    for (const std::string &record : archive.getAllRecords()) {
        if (begins(record, "code/") && runs_code(archive, record))
            return {};
        if (!begins(record, "data/"))
            continue;
        size_t position = archive.getRecordOffset(record);
        if (position % ALIGNMENT == 0)
            tensors.insert(position);
    }
    return tensors;
}
} // namespace

torch::jit::Module load_mapped(const std::string &path)
{
    auto reader = std::make_shared<Reader>(path);

    reader->leave_out(find_tensors(reader));
    try {
        torch::jit::Module module = torch::jit::load(reader, at::kCPU);
        if (reader->attach(module))
            return module;
    } catch (const c10::Error &) {
        /* an archive that somebody packed anew, with compression; or a broken one */
    }
    return torch::jit::load(path, at::kCPU);
}
} // namespace engine
