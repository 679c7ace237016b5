"""Run in the trainer's image: compiles a Python module as Triton does at a GPU's first kernel, and imports it.

Triton's own driver module is made in the same way, but links CUDA's library, which only a machine with a GPU has.
"""

from triton.runtime.build import compile_module_from_src  # type: ignore[import-not-found]  # in the trainer's only

SOURCE = """
#include <Python.h>

static PyObject *answer(PyObject *self, PyObject *arguments) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "compiled", NULL, -1, methods};
PyMODINIT_FUNC PyInit_compiled(void) { return PyModule_Create(&module); }
"""

if compile_module_from_src(SOURCE, "compiled").answer() != 42:
    raise SystemExit("the compiled module does not answer")
