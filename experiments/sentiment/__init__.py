"""Classification of sentences: sentiment, subjectivity, kinds of questions."""
