"""From text to token ids: normalisation, WordPiece, and learning a vocabulary.

Read in this order: wordpiece.py, vocabulary.py, then normalisation.py and tokenizer.py.
"""

from minibert.text.sentences import split_sentences
from minibert.text.tokenizer import Encoding, Tokenizer
from minibert.text.vocabulary import learn_vocabulary

__all__ = ["Encoding", "Tokenizer", "learn_vocabulary", "split_sentences"]
