"""Rows of published question sets in their true forms, shortened."""

from __future__ import annotations

from typing import Any

HOTPOTQA: list[dict[str, Any]] = [
    {
        "_id": "5a8b57f25542995d1e6f1371",
        "question": "Were Scott Derrickson and Ed Wood of the same nationality?",
        "answer": "yes",
        "type": "comparison",
        "level": "hard",
        "supporting_facts": [["Scott Derrickson", 0], ["Ed Wood", 0], ["Ed Wood", 90]],
        "context": [
            ["Ed Wood (film)", ["Ed Wood is a 1994 American film.", " It concerns the cult film maker Ed Wood."]],
            ["Scott Derrickson", ["Scott Derrickson is an American director.", " He lives in Los Angeles."]],
            ["Ed Wood", ["Edward Davis Wood Jr. was an American filmmaker."]],
        ],
    }
]
WIKI2: list[dict[str, Any]] = [
    {
        "_id": "8813f87c0bdd11eba7f7acde48001122",
        "type": "compositional",
        "question": "Who is the mother of the director of film Polish-Russian War (Film)?",
        "context": [
            ["Maheen Khan", ["Maheen Khan is a Pakistani fashion designer."]],
            [
                "Polish-Russian War (film)",
                ["Polish-Russian War is a 2009 film.", "Its director is Xawery Żuławski."],
            ],
            ["Xawery Żuławski", ["Xawery Żuławski is a Polish director.", "He is the son of Małgorzata Braunek."]],
        ],
        "supporting_facts": [["Polish-Russian War (film)", 1], ["Xawery Żuławski", 1]],
        "evidences": [["Polish-Russian War", "director", "Xawery Żuławski"]],
        "answer": "Małgorzata Braunek",
        "evidences_id": [],
        "answer_id": "Q274277",
    }
]
MUSIQUE: list[dict[str, Any]] = [
    {
        "id": "2hop__460946_294723",
        "paragraphs": [
            {"idx": 0, "title": "Grant's First Stand", "paragraph_text": "A jazz album.", "is_supporting": False},
            {"idx": 5, "title": "Miquette Giraudy", "paragraph_text": "Partner of Hillage.", "is_supporting": True},
            {"idx": 10, "title": "Green (album)", "paragraph_text": "Made by Steve Hillage.", "is_supporting": True},
        ],
        "question": "Who is the spouse of the Green performer?",
        "question_decomposition": [
            {"id": 1, "question": "Green >> performer", "answer": "Steve Hillage", "paragraph_support_idx": 10},
            {"id": 2, "question": "#1 >> spouse", "answer": "Miquette Giraudy", "paragraph_support_idx": 5},
        ],
        "answer": "Miquette Giraudy",
        "answer_aliases": ["Giraudy"],
        "answerable": True,
    },
    {
        "id": "2hop__1_2",
        "paragraphs": [{"idx": 0, "title": "Nothing", "paragraph_text": "Nothing.", "is_supporting": False}],
        "question": "Who is nobody?",
        "question_decomposition": [{"id": 1, "question": "?", "answer": "?", "paragraph_support_idx": None}],
        "answer": "nobody",
        "answer_aliases": [],
        "answerable": False,
    },
]
BROWSECOMP: list[dict[str, Any]] = [
    {
        "query_id": "769",
        "query": "Which village on the river burnt down in the year of the flood?",
        "answer": "Oldby",
        "gold_docs": [
            {
                "docid": "5412",
                "text": "---\ntitle: Oldby\n---\nOldby burnt down in 1823.",
                "url": "https://a.test/oldby",
            }
        ],
        "evidence_docs": [
            {
                "docid": "5412",
                "text": "---\ntitle: Oldby\n---\nOldby burnt down in 1823.",
                "url": "https://a.test/oldby",
            },
            {"docid": "77", "text": "The flood was in 1823.", "url": "https://a.test/flood"},
        ],
        "negative_docs": [{"docid": 9, "text": "Newby has a mill.", "url": "https://a.test/newby"}],
    }
]
SEARCH_R1: list[dict[str, Any]] = [
    {
        "id": "train_0",
        "question": "total number of death row inmates in the us?",
        "golden_answers": ["2,718"],
        "data_source": "nq",
        "prompt": [{"role": "user", "content": "Answer the given question. … Question: total number?\n"}],
        "ability": "fact-reasoning",
        "reward_model": {"ground_truth": {"target": ["2,718"]}, "style": "rule"},
        "extra_info": {"index": 0, "split": "train"},
    },
    {
        "data_source": "triviaqa",
        "prompt": [{"role": "user", "content": "Answer the given question. … Question: who wrote Emma?\n"}],
        "ability": "fact-reasoning",
        "reward_model": {"ground_truth": {"target": ["Jane Austen", "Austen"]}, "style": "rule"},
        "extra_info": {"index": 3, "split": "test"},
    },
    {"id": "dev_1", "question": "who sang it", "golden_answers": ["Nobody", "No one"], "metadata": {}},
]
