"""One point, one answer: is the explanation of one network at one point robust, and up to which radius?"""
