from Cython.Build import cythonize
from setuptools import Extension, setup

import pytransformer

setup(
    name="lines",
    ext_modules=cythonize(
        Extension(
            "lines",
            ["lines.pyx"],
            include_dirs=[pytransformer.get_include()],
            extra_compile_args=["-fopenmp"],
            extra_link_args=["-fopenmp"],
        )
    ),
)
