"""A disk that takes so many bytes, and then fails."""

import os


class Refusing:
    """A file that takes `room` bytes, the last write in part, and then fails as a disk does."""

    def __init__(self, file, room, number):
        self.file, self.room, self.number = file, room, number

    def write(self, content):
        taken = bytes(content)[: self.room]
        self.file.write(taken)
        self.room -= len(taken)
        if len(taken) < len(content):
            raise OSError(self.number, os.strerror(self.number))
        return len(content)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()


def refusing(room, number):
    """In place of `open`: its files fail with this error number after `room` bytes."""

    def open_it(*given):
        return Refusing(open(*given), room, number)

    return open_it
